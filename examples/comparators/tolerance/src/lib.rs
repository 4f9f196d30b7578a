//! A comparator: two results agree if each of the outputs named in `params`, an array of `f32` (little-endian), has the same
//! length in both, and no two numbers at one place differ by more than `absolute + relative * |a|`. NaNs agree with NaNs.
//!
//! `params`: `{"outputs": ["weights"], "skip": 16, "absolute": 1e-6, "relative": 1e-4}`.

use aevir_guest::{Input, Result, ensure, info};
use serde::Deserialize;

/// The comparator's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Names of outputs of the task.
    outputs: Vec<String>,
    /// Bytes of each file's head, which must be equal.
    #[serde(default)]
    skip: u64,
    /// The difference that is always allowed.
    absolute: f32,
    /// The difference that is allowed as a part of the first number.
    relative: f32,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::comparator!(equal);

/// Whether the results agree.
pub fn equal(params: Params) -> Result<bool> {
    ensure!(!params.outputs.is_empty(), "`outputs` names nothing");
    for name in &params.outputs {
        let a = Input::open(&format!("a/{name}"))?;
        let b = Input::open(&format!("b/{name}"))?;
        if a.size() != b.size() || a.head(params.skip)? != b.head(params.skip)? {
            info!("`{name}` has another length or head");
            return Ok(false);
        }
        let (a, b) = (a.f32s_from(params.skip)?, b.f32s_from(params.skip)?);
        let differs = |(a, b): (&f32, &f32)| !agree(*a, *b, params.absolute, params.relative);
        if let Some(at) = a.iter().zip(&b).position(differs) {
            info!("number {at} of `{name}` is {} and {}", a[at], b[at]);
            return Ok(false);
        }
    }
    Ok(true)
}

fn agree(a: f32, b: f32, absolute: f32, relative: f32) -> bool {
    if a.is_finite() && b.is_finite() {
        return (a - b).abs() <= absolute + relative * a.abs();
    }
    // An infinity is within no tolerance of anything but itself: a part of it is infinite, too.
    a == b || (a.is_nan() && b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn numbers_agree_up_to_the_tolerance() {
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
            assert_eq!(agree(a, b, 1e-3, 1e-6), expected, "{a} and {b}");
        }
    }
}
