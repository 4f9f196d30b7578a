//! Fixed-point arithmetic: exact on every machine, where floating point would not be.

use crate::amount::{PPM, Ppm};

/// Prior counts that a newcomer starts with, so that one lucky result does not outrank a long record.
const PRIOR_GOOD: u64 = 1;
const PRIOR_BAD: u64 = 1;

/// Lower bound of the Wilson score interval (E. B. Wilson, 1927) for `good` successes in `good + bad` trials
/// at z = 1.96, after one prior success and one prior failure, in parts per million, rounded down:
///
/// `(p + z²/2n - z * sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`
///
/// computed with both sides scaled by `n` and an integer square root.
pub(crate) fn wilson_lower_bound(good: u32, bad: u32) -> Ppm {
    // z = 1.96: z² = 3.8416, kept in ten-thousandths.
    const Z2: u128 = 38_416;
    const Z2_SCALE: u128 = 10_000;
    let good = u128::from(u64::from(good) + PRIOR_GOOD);
    let bad = u128::from(u64::from(bad) + PRIOR_BAD);
    let n = good + bad;
    let million = PPM as u128;
    // With numerator and denominator multiplied by n:
    //   (good + z²/2 - sqrt(z² (good bad / n + z²/4))) / (n + z²)
    let centre = good * million + Z2 * million / (2 * Z2_SCALE);
    let radicand =
        Z2 * million * (good * bad * million / n + Z2 * million / (4 * Z2_SCALE)) / Z2_SCALE;
    let spread = radicand.isqrt() + 1;
    let bound = centre.saturating_sub(spread) * Z2_SCALE / (n * Z2_SCALE + Z2);
    Ppm::try_from(bound).unwrap_or(PPM as Ppm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_formula_computed_with_more_digits() {
        // Values of the formula with the priors, to six decimals.
        for (good, bad, expected) in [
            (0, 0, 94_528),
            (10, 0, 646_114),
            (100, 0, 946_540),
            (90, 10, 817_139),
            (0, 10, 14_864),
        ] {
            let bound = i64::from(wilson_lower_bound(good, bad));
            assert!(
                (bound - expected).abs() <= 2,
                "{good}/{bad}: {bound} is not {expected}"
            );
        }
    }

    #[test]
    fn grows_with_successes_and_falls_with_faults() {
        for n in 0..200 {
            assert!(wilson_lower_bound(n + 1, 3) > wilson_lower_bound(n, 3));
            assert!(wilson_lower_bound(50, n + 1) < wilson_lower_bound(50, n));
        }
        assert!(wilson_lower_bound(u32::MAX, 0) < 1_000_000);
    }
}
