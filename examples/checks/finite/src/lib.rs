//! A check: the outputs named in `params` are arrays of `f32` (little-endian) that hold only finite numbers of at most a
//! magnitude. A training that diverged fails it, whatever loss its node reports.
//!
//! `params`: `{"outputs": ["weights"], "skip": 16, "magnitude_max": 1000.0}`.

use aevir_guest::{Input, Result, ensure, warn};
use serde::Deserialize;

/// The check's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Names of outputs of the task.
    outputs: Vec<String>,
    /// Bytes of each file's head, which hold no numbers.
    #[serde(default)]
    skip: u64,
    /// No number may be larger, with either sign.
    magnitude_max: f32,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::check!(verify);

/// Whether all numbers are finite and small enough.
pub fn verify(params: Params) -> Result<bool> {
    ensure!(!params.outputs.is_empty(), "`outputs` names nothing");
    for name in &params.outputs {
        let numbers = Input::open(name)?.f32s_from(params.skip)?;
        let bad = |number: &f32| !number.is_finite() || number.abs() > params.magnitude_max;
        if let Some(at) = numbers.iter().position(bad) {
            warn!("number {at} of `{name}` is {}", numbers[at]);
            return Ok(false);
        }
    }
    Ok(true)
}
