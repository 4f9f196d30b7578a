//! A comparator: two results agree if each of the outputs named in `params`, an array of numbers (little-endian), has the same
//! length in both, and the numbers at each place are near enough: `|a - b| <= absolute + relative * max(|a|, |b|)`, or no more
//! than `ulps` representable numbers apart. NaNs agree with NaNs. It does not matter which of the two is `a`.
//!
//! `params`: `{"outputs": ["weights"], "numbers": "f32", "skip": 16, "absolute": 1e-6, "relative": 1e-4, "ulps": 4}`.

use aevir_guest::{Input, Result, ensure, info};
use serde::Deserialize;

/// Bytes that are read at once: whole numbers of each type.
const STEP_BYTES: u32 = 1 << 20;

/// The comparator's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Names of outputs of the task.
    outputs: Vec<String>,
    /// What they are arrays of.
    #[serde(default)]
    numbers: Numbers,
    /// Bytes of each file's head, which must be equal.
    #[serde(default)]
    skip: u64,
    /// The difference that is always allowed.
    #[serde(default)]
    absolute: f64,
    /// The difference that is allowed as a part of the larger number.
    #[serde(default)]
    relative: f64,
    /// How many steps from one representable number to the next may be between two.
    #[serde(default)]
    ulps: u32,
}

/// A type of numbers, little-endian.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    #[default]
    F32,
    F64,
    I32,
    U32,
}

/// How far two numbers may be from each other, by what [`Params`] say: to be within one of them suffices.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    absolute: f64,
    relative: f64,
    ulps: u32,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::comparator!(equal);

/// Whether the results agree.
pub fn equal(params: Params) -> Result<bool> {
    ensure!(!params.outputs.is_empty(), "`outputs` names nothing");
    let (absolute, relative, ulps) = (params.absolute, params.relative, params.ulps);
    ensure!(
        absolute >= 0.0 && relative >= 0.0,
        "no difference is smaller than nothing: `absolute` and `relative` are 0 or more"
    );
    let tolerance = Tolerance {
        absolute,
        relative,
        ulps,
    };
    for name in &params.outputs {
        let a = Input::open(&format!("a/{name}"))?;
        let b = Input::open(&format!("b/{name}"))?;
        if a.size() != b.size() || a.head(params.skip)? != b.head(params.skip)? {
            info!("`{name}` has another length or head");
            return Ok(false);
        }
        let (numbers, rest) = (params.numbers, a.size().saturating_sub(params.skip));
        ensure!(
            rest.is_multiple_of(numbers.bytes() as u64),
            "`{name}` has {rest} bytes after its head, which are no whole numbers of {numbers:?}"
        );
        for at in (params.skip..a.size()).step_by(STEP_BYTES as usize) {
            let (a, b) = (a.read_at(at, STEP_BYTES)?, b.read_at(at, STEP_BYTES)?);
            if let Some((n, [a, b])) = numbers.first_apart(&a, &b, tolerance) {
                let n = (at - params.skip) / numbers.bytes() as u64 + n as u64;
                info!("number {n} of `{name}` is {a} and {b}");
                return Ok(false);
            }
        }
    }
    Ok(true)
}

impl Numbers {
    /// Of one number.
    fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 => 8,
        }
    }

    /// The first place at which two arrays are further apart than that, with the numbers there.
    fn first_apart(self, a: &[u8], b: &[u8], tolerance: Tolerance) -> Option<(usize, [f64; 2])> {
        let size = self.bytes();
        let pairs = a.chunks_exact(size).zip(b.chunks_exact(size));
        let pairs = pairs.map(|(a, b)| [self.read(a), self.read(b)]);
        let mut pairs = pairs.enumerate();
        pairs
            .find(|(_, [a, b])| !tolerance.admits(*a, *b))
            .map(|(n, [a, b])| (n, [a.value, b.value]))
    }

    fn read(self, bytes: &[u8]) -> Number {
        let word = || bytes.first_chunk().copied().unwrap_or_default();
        let long = || bytes.first_chunk().copied().unwrap_or_default();
        match self {
            Self::F32 => f32::from_le_bytes(word()).into(),
            Self::F64 => f64::from_le_bytes(long()).into(),
            Self::I32 => i64::from(i32::from_le_bytes(word())).into(),
            Self::U32 => i64::from(u32::from_le_bytes(word())).into(),
        }
    }
}

/// A number of any of the types: its value, which a double holds, and its place among all numbers of its type.
#[derive(Debug, Clone, Copy)]
struct Number {
    value: f64,
    place: i64,
}

impl From<f32> for Number {
    fn from(number: f32) -> Self {
        let magnitude = i64::from(number.abs().to_bits());
        let place = if number.is_sign_negative() {
            -magnitude
        } else {
            magnitude
        };
        Self {
            value: number.into(),
            place,
        }
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        // The sign's bit is 0: it fits.
        let magnitude = number.abs().to_bits() as i64;
        let place = if number.is_sign_negative() {
            -magnitude
        } else {
            magnitude
        };
        Self {
            value: number,
            place,
        }
    }
}

impl From<i64> for Number {
    /// Of at most 33 bits.
    fn from(number: i64) -> Self {
        Self {
            value: number as f64,
            place: number,
        }
    }
}

impl Tolerance {
    /// Whether two numbers are near enough.
    fn admits(self, a: Number, b: Number) -> bool {
        let (x, y) = (a.value, b.value);
        if !x.is_finite() || !y.is_finite() {
            // An infinity is within no tolerance of anything but itself: a part of it is infinite, too.
            return x == y || (x.is_nan() && y.is_nan());
        }
        (x - y).abs() <= self.absolute + self.relative * x.abs().max(y.abs())
            || a.place.abs_diff(b.place) <= self.ulps.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, Numbers, Tolerance};

    fn admits(tolerance: Tolerance, a: impl Into<Number>, b: impl Into<Number>) -> bool {
        let (a, b) = (a.into(), b.into());
        let found = tolerance.admits(a, b);
        assert_eq!(tolerance.admits(b, a), found, "{a:?} and {b:?}");
        found
    }

    #[test]
    fn numbers_agree_up_to_the_tolerance() {
        let tolerance = Tolerance {
            absolute: 1e-3,
            relative: 1e-6,
            ulps: 0,
        };
        let rows = [
            (1.0, 1.0, true),
            (1.0, 1.000_9, true),
            (1.0, 1.002, false),
            (0.0, 0.000_5, true),
            (f32::NAN, f32::NAN, true),
            (f32::NAN, 0.0, false),
            (f32::INFINITY, f32::INFINITY, true),
            (f32::INFINITY, f32::NEG_INFINITY, false),
            (f32::INFINITY, f32::MAX, false),
        ];
        for (a, b, expected) in rows {
            assert_eq!(admits(tolerance, a, b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn a_part_is_one_of_the_larger_number() {
        let tolerance = Tolerance {
            absolute: 0.0,
            relative: 0.1,
            ulps: 0,
        };
        assert!(admits(tolerance, 90.0, 100.0), "10 % of 100, not of 90");
        assert!(!admits(tolerance, 89.9, 100.0));
    }

    #[test]
    fn steps_are_counted_across_zero_and_never_to_infinity() {
        let two = Tolerance {
            absolute: 0.0,
            relative: 0.0,
            ulps: 2,
        };
        let after = |number: f32, steps: u32| f32::from_bits(number.to_bits() + steps);
        assert!(admits(two, 1.0f32, after(1.0, 2)));
        assert!(!admits(two, 1.0f32, after(1.0, 3)));
        assert!(
            admits(two, f32::from_bits(1), -f32::from_bits(1)),
            "by zero"
        );
        assert!(admits(two, 0.0f32, -0.0f32));
        assert!(!admits(two, f32::MAX, f32::INFINITY));
        assert!(!admits(two, f32::MIN, f32::MAX));
        assert!(admits(two, 1.0f64, 1.0 + 2.0 * f64::EPSILON));
        assert!(!admits(two, f64::MIN, f64::MAX));
        assert!(admits(two, 5i64, 7i64) && !admits(two, -2i64, 1i64));
    }

    #[test]
    fn each_type_is_read_as_it_is() {
        let tolerance = Tolerance {
            absolute: 0.5,
            relative: 0.0,
            ulps: 0,
        };
        let apart = |numbers: Numbers, a: &[u8], b: &[u8]| numbers.first_apart(a, b, tolerance);
        let (a, b) = (
            [1u8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [1u8, 0, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(
            apart(Numbers::U32, &a, &b),
            Some((1, [4_294_967_295.0, 0.0]))
        );
        assert_eq!(apart(Numbers::I32, &a, &b), Some((1, [-1.0, 0.0])));
        assert!(
            apart(Numbers::F32, &a, &b).is_some_and(|(n, _)| n == 1),
            "NaN"
        );
        assert!(
            apart(Numbers::F64, &a, &b).is_some_and(|(n, _)| n == 0),
            "NaN"
        );
        assert_eq!(apart(Numbers::I32, &a, &a), None);
    }
}
