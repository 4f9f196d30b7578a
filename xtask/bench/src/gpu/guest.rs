//! The guest's side: `examples/modules/gpu-bench.wasm` in an executor process, timed by what it says in its log.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Instant};

use aevir_gpu::{AdapterInfo, GpuLimits};
use aevir_sandbox::{End, Executor, ExecutorConfig, Limits, Profile, RunEvent, RunSpec, TraceIds};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The hidden subcommand of this program that is the executor.
pub(crate) const EXECUTOR: &str = "executor";
const MODULE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/modules/gpu-bench.wasm"
);

/// Runs the bench's guest.
pub(super) struct Guest {
    executor: Executor,
    dir: TempDir,
    module: PathBuf,
    digest: String,
    runs: std::cell::Cell<u32>,
}

/// What a run said.
pub(super) struct Ran {
    pub(super) rounds: Vec<Round>,
    /// The first words of the last result.
    pub(super) words: Vec<u32>,
}

/// One announced round.
pub(super) struct Round {
    pub(super) seconds: f64,
    /// The most memory that the executor process had resident up to its end.
    pub(super) peak_bytes: u64,
}

#[derive(Deserialize)]
struct Computed {
    words: Vec<u32>,
}

impl Guest {
    pub(super) fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let module = PathBuf::from(MODULE);
        let bytes = fs::read(&module)
            .with_context(|| format!("{MODULE} can't be read; `cargo xtask guests` builds it"))?;
        let executor = Executor::new(ExecutorConfig {
            program: std::env::current_exe()?,
            args: vec![EXECUTOR.into()],
            cache_dir: dir.path().join("cache"),
            env: BTreeMap::new(),
            log: None,
        });
        Ok(Self {
            executor,
            dir,
            module,
            digest: hex::encode(Sha256::digest(bytes)),
            runs: std::cell::Cell::new(0),
        })
    }

    /// Opens the GPU and measures it.
    pub(super) async fn probe(&self) -> Result<AdapterInfo> {
        let probed = self.executor.probe_gpu(&GpuLimits::default()).await;
        probed.context("there is no GPU to measure")
    }

    /// Computes `work` in rounds.
    pub(super) async fn run(
        &self,
        work: &str,
        dispatches: usize,
        rounds: usize,
        repeat: usize,
    ) -> Result<Ran> {
        let spec = self.spec(work, dispatches, rounds, repeat)?;
        let (sender, mut events) = mpsc::channel(16);
        let listen = async {
            let (mut pid, mut begun, mut rounds) = (0, None, Vec::new());
            let mut said = Vec::new();
            while let Some(event) = events.recv().await {
                let now = Instant::now();
                match event {
                    RunEvent::Started { pid: started } => pid = started,
                    RunEvent::Log { text, .. } if text == "begin" => begun = Some(now),
                    RunEvent::Log { text, .. } if text == "end" => {
                        let begun = begun.take().context("a round ended that had not begun")?;
                        rounds.push(Round {
                            seconds: (now - begun).as_secs_f64(),
                            peak_bytes: peak_bytes(pid),
                        });
                    }
                    RunEvent::Log { text, .. } => said.push(text),
                    _ => {}
                }
            }
            anyhow::Ok((rounds, said))
        };
        let run = self.executor.run(spec, sender, CancellationToken::new());
        let (outcome, listened) = tokio::join!(run, listen);
        let (rounds, said) = listened?;
        let (End::Ok, Some(result)) = (&outcome.end, &outcome.result) else {
            bail!("the guest ended with {:?}; it said {said:?}", outcome.end);
        };
        let Computed { words } = serde_json::from_str(result)?;
        Ok(Ran { rounds, words })
    }

    fn spec(&self, work: &str, dispatches: usize, rounds: usize, repeat: usize) -> Result<RunSpec> {
        self.runs.set(self.runs.get() + 1);
        let out_dir = self.dir.path().join(format!("run-{}", self.runs.get()));
        fs::create_dir(&out_dir)?;
        let mut limits = Limits {
            fuel: 1_000_000_000_000_000,
            wall_ms: 3_600_000,
            ..Limits::default()
        };
        limits.gpu.time_ms = limits.wall_ms;
        if work.ends_with("f16") {
            limits.gpu.features.push("shader-f16".into());
        }
        let params = serde_json::json!({
            "work": work, "rounds": rounds, "repeat": repeat, "dispatches": dispatches
        });
        Ok(RunSpec {
            module: self.module.clone(),
            module_digest: self.digest.clone(),
            params: params.to_string(),
            seed: 0,
            inputs: Vec::new(),
            checkpoint: None,
            out_dir,
            limits,
            gpu: true,
            gpu_class: None,
            profile: Profile::default(),
            tenant: "bench".into(),
            trace: TraceIds::default(),
        })
    }
}

fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    crate::host::peak_of(&status)
}
