//! How fast this machine runs guests: a fixed module, run in the node's own executor as any task is.

use std::{fs, io, path::Path};

use aevir_sandbox::{End, Executor, Limits, Outcome, Profile, RunSpec, TraceIds};
use aevir_wire::digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The probe, built from `node/probe/cpu.wat`.
const MODULE: &[u8] = include_bytes!("../probe/cpu.wasm");
/// Its runs; the fastest counts, as others may use the machine.
const TRIES: u32 = 3;
/// Ten times what it burns, a tenth of what any machine burns in its wall time.
const FUEL_MAX: u64 = 2_000_000_000;
const MEMORY_MIB: u32 = 16;
const WALL_S: u32 = 30;
const OUTPUT_MIB: u32 = 1;
/// Fuel in millions a second, for each unit a millisecond.
const FUEL_PER_MS: u64 = 1_000;

/// Why the probe gave no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeFailed {
    #[error("the probe's folder can't be used")]
    Folder(#[from] io::Error),
    #[error("the probe ended as {0:?}")]
    Ended(End),
}

/// Fuel that a run burns here, in millions a second.
///
/// # Errors
/// When the probe does not run through: then no other task would either.
pub(crate) async fn cpu_mfuel_s(executor: &Executor, data_dir: &Path) -> Result<u32, ProbeFailed> {
    let folder = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(data_dir)?;
    let module = folder.path().join("cpu.wasm");
    fs::write(&module, MODULE)?;
    let mut best = 0;
    for attempt in 0..TRIES {
        let out_dir = folder.path().join(attempt.to_string());
        fs::create_dir(&out_dir)?;
        let outcome = run(executor, &module, &out_dir).await;
        if outcome.end != End::Ok {
            return Err(ProbeFailed::Ended(outcome.end));
        }
        let rate = outcome.usage.fuel / outcome.usage.wall_ms.max(1) / FUEL_PER_MS;
        best = best.max(u32::try_from(rate).unwrap_or(u32::MAX));
    }
    Ok(best)
}

async fn run(executor: &Executor, module: &Path, out_dir: &Path) -> Outcome {
    let spec = RunSpec {
        module: module.to_owned(),
        module_digest: digest(MODULE),
        profile: Profile::Deterministic,
        params: "{}".into(),
        seed: 0,
        inputs: Vec::new(),
        checkpoint: None,
        out_dir: out_dir.to_owned(),
        limits: Limits::for_task(FUEL_MAX, MEMORY_MIB, WALL_S, OUTPUT_MIB),
        gpu: false,
        gpu_class: None,
        // A process of its own, which serves nobody after it.
        tenant: String::new(),
        trace: TraceIds::default(),
    };
    let (events, mut said) = mpsc::channel(1);
    let listening = async { while said.recv().await.is_some() {} };
    let running = executor.run(spec, events, CancellationToken::new());
    tokio::join!(running, listening).0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_checked_in_module_is_the_text() {
        let text = include_str!("../probe/cpu.wat");
        let built = wat::parse_str(text).unwrap();
        if std::env::var_os("AEVIR_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/probe/cpu.wasm");
            return fs::write(path, built).unwrap();
        }
        assert_eq!(built, MODULE, "AEVIR_BLESS=1 builds it anew");
    }
}
