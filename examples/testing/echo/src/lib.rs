//! A task without GPU for tests of the platform: it echoes, takes as long as told, and fails in the way told.
//!
//! - The result is `{"params": .., "seed": "..", "inputs": {name: size}, "checksum": ".."}`.
//! - Each input named in `copy` is copied to an output of the same name.
//! - `spin` does that many units of work, reports progress after each, and saves a checkpoint of the state, from which
//!   it resumes.
//! - `metrics` are reported as they are.
//! - `fail` ends the run after the work: `error` (the task's own error), `trap` (a panic), `loop` (never returns),
//!   `memory` (allocates until refused).

use std::collections::BTreeMap;

use aevir_guest::{Error, Input, Output, Result, Rng, checkpoint, info, metric, progress};
use serde::{Deserialize, Serialize};

/// Rounds of mixing a unit of `spin`: a few milliseconds of one core.
const ROUNDS_PER_UNIT: u32 = 1_000_000;

/// What `memory` allocates at a time.
const GREED_BYTES: usize = 16 << 20;

/// The task's `params`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Anything; it comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<serde_json::Value>,
    /// Inputs to copy to outputs.
    copy: Vec<String>,
    /// Units of work.
    spin: u32,
    /// Values to report.
    metrics: BTreeMap<String, f64>,
    /// How to fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    fail: Option<Failure>,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    Error,
    Trap,
    Loop,
    Memory,
}

/// The task's result.
#[derive(Debug, Serialize)]
pub struct Echo {
    params: Params,
    /// The run's seed, as decimal text: JSON numbers don't hold 64 bits.
    seed: String,
    /// Sizes of the copied inputs in bytes.
    inputs: BTreeMap<String, u64>,
    /// The state after the work, as hexadecimal text.
    checksum: String,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(echo);

/// The task.
pub fn echo(params: Params) -> Result<Echo> {
    let seed = aevir_guest::seed();
    let mut inputs = BTreeMap::new();
    for name in &params.copy {
        inputs.insert(name.clone(), copy(name)?);
    }
    let checksum = spin(params.spin, seed)?;
    for (name, &value) in &params.metrics {
        metric(name, 0, value);
    }
    match params.fail {
        None => {}
        Some(Failure::Error) => return Err(Error::Message("failed as asked".into())),
        Some(Failure::Trap) => panic!("trapped as asked"),
        Some(Failure::Loop) => run_for_ever(checksum),
        Some(Failure::Memory) => fill_memory(),
    }
    Ok(Echo {
        params,
        seed: seed.to_string(),
        inputs,
        checksum: format!("{checksum:016x}"),
    })
}

/// Copies an input to an output of the same name; its size.
fn copy(name: &str) -> Result<u64> {
    let input = Input::open(name)?;
    let mut output = Output::create(name)?;
    for chunk in input.chunks() {
        output.write(&chunk?)?;
    }
    Ok(input.size())
}

/// Works through the units that the last checkpoint has not done yet; the final state.
fn spin(units: u32, seed: u64) -> Result<u64> {
    let (mut done, mut state) = checkpoint::last().map_or(Ok((0, seed)), |bytes| resume(&bytes))?;
    if done > 0 {
        info!("resuming after unit {done}");
    }
    while done < units {
        state = work(state);
        done += 1;
        progress(done.into(), units.into(), "spinning");
        checkpoint::save(&[&done.to_le_bytes()[..], &state.to_le_bytes()[..]].concat())?;
    }
    Ok(state)
}

/// The units done and the state of a checkpoint.
fn resume(bytes: &[u8]) -> Result<(u32, u64)> {
    let (Some(done), Some(state), 12) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len())
    else {
        return Err(format!("a checkpoint has 12 bytes, not {}", bytes.len()).into());
    };
    Ok((u32::from_le_bytes(*done), u64::from_le_bytes(*state)))
}

fn work(state: u64) -> u64 {
    let mut rng = Rng::new(state);
    (0..ROUNDS_PER_UNIT).fold(state, |state, _| state ^ rng.bits())
}

fn run_for_ever(mut state: u64) -> ! {
    loop {
        state = std::hint::black_box(work(state));
    }
}

fn fill_memory() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1u8; GREED_BYTES]));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{resume, work};

    #[test]
    fn work_depends_on_the_state_only() {
        assert_eq!(work(1), work(1));
        assert_ne!(work(1), work(2));
    }

    #[test]
    fn checkpoints_resume() {
        let bytes = [&7u32.to_le_bytes()[..], &9u64.to_le_bytes()[..]].concat();
        assert_eq!(resume(&bytes).unwrap(), (7, 9));
        resume(&bytes[..11]).unwrap_err();
    }
}
