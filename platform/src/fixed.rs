//! Fixed-point arithmetic: exact on every machine, where floating point would not be.

use crate::amount::{PPM, Ppm};

/// A whole outcome, in the thousandths that outcomes are counted in.
const OUTCOME: u128 = 1_000;
/// Prior counts that a newcomer starts with, so that one lucky result does not outrank a long record.
const PRIOR_GOOD: u128 = OUTCOME;
const PRIOR_BAD: u128 = OUTCOME;

/// Lower bound of the Wilson score interval (E. B. Wilson, 1927) at z = 1.96 for `good` successes and `bad` failures, both in
/// thousandths, after one prior success and one prior failure, in parts per million, rounded down:
///
/// `(p + z²/2n - z * sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`
///
/// computed with both sides scaled by `n` and an integer square root. Counts up to 2^42 don't pass 128 bits on the way.
pub(crate) const fn wilson_lower_bound(good: u64, bad: u64) -> Ppm {
    // z = 1.96: z² = 3.8416, kept in ten-thousandths.
    const Z2: u128 = 38_416;
    const Z2_SCALE: u128 = 10_000;
    const MILLION: u128 = PPM as u128;
    let good = good as u128 + PRIOR_GOOD;
    let bad = bad as u128 + PRIOR_BAD;
    let n = good + bad;
    // With numerator and denominator multiplied by n, and all of it in thousandths:
    //   (good + z²/2 - sqrt(z² (good bad / n + z²/4))) / (n + z²)
    let centre = good * MILLION + Z2 * OUTCOME * MILLION / (2 * Z2_SCALE);
    let inner =
        OUTCOME * good * bad * MILLION / n + Z2 * OUTCOME * OUTCOME * MILLION / (4 * Z2_SCALE);
    let spread = (Z2 * MILLION * inner / Z2_SCALE).isqrt() + 1;
    let bound = centre.saturating_sub(spread) * Z2_SCALE / (n * Z2_SCALE + Z2 * OUTCOME);
    // A part of a whole: at most a million.
    bound as Ppm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_formula_computed_with_more_digits() {
        // Values of the formula with the priors, to six decimals, computed with fifty digits and cut off.
        for (good, bad, expected) in [
            (0, 0, 94_528),
            (10, 0, 646_114),
            (100, 0, 946_540),
            (90, 10, 817_139),
            (0, 10, 14_864),
        ] {
            assert_eq!(
                wilson_lower_bound(good * 1_000, bad * 1_000),
                expected,
                "{good}/{bad}"
            );
        }
    }

    #[test]
    fn parts_of_outcomes_count_as_parts() {
        // Of the same formula, with fifty digits: 770,742.85.
        assert_eq!(wilson_lower_bound(44_788, 4_932), 770_742);
        assert_eq!(wilson_lower_bound(1, 0), 94_648);
        for n in 0..2_000 {
            assert!(wilson_lower_bound(n + 500, 300) > wilson_lower_bound(n, 300));
            assert!(wilson_lower_bound(5_000, n + 500) < wilson_lower_bound(5_000, n));
        }
    }

    #[test]
    fn grows_with_successes_and_falls_with_faults() {
        for n in 0..200 {
            let n = n * 1_000;
            assert!(wilson_lower_bound(n + 1_000, 3_000) > wilson_lower_bound(n, 3_000));
            assert!(wilson_lower_bound(50_000, n + 1_000) < wilson_lower_bound(50_000, n));
        }
        let most = u64::from(u32::MAX) * 1_000;
        assert!(wilson_lower_bound(most, 0) < 1_000_000);
        assert!((499_900..500_000).contains(&wilson_lower_bound(most, most)));
    }
}
