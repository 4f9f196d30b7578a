//! A module and an executor, ready to be timed.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use aevir_sandbox::{
    End, Executor, ExecutorConfig, Limits, PoolConfig, Profile, RunSpec, TraceIds, Tuning,
};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// This program's hidden verb for executor processes.
const EXECUTOR: &str = "executor";
/// Events of a run that may wait.
const EVENTS_WAITING: usize = 16;

pub(super) struct Task {
    pub(super) executor: Executor,
    folder: TempDir,
    module: PathBuf,
    digest: String,
}

impl Task {
    /// `warm` processes are kept ready.
    pub(super) fn new(wasm: &[u8], warm: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("module.wasm");
        fs::write(&module, wasm)?;
        fs::create_dir(folder.path().join("out"))?;
        let tuning = Tuning {
            pool: PoolConfig {
                warm,
                ..PoolConfig::default()
            },
            ..Tuning::default()
        };
        let config = ExecutorConfig {
            program: std::env::current_exe()?,
            args: vec![EXECUTOR.into()],
            cache_dir: folder.path().join("compiled"),
            env: BTreeMap::new(),
            log: None,
        };
        Ok(Self {
            executor: Executor::tuned(config, tuning),
            module,
            digest: hex::encode(Sha256::digest(wasm)),
            folder,
        })
    }

    /// One run from request to outcome; it must end well.
    pub(super) async fn run(&self, tenant: &str) -> Result<Duration> {
        let spec = RunSpec {
            module: self.module.clone(),
            module_digest: self.digest.clone(),
            params: "{}".into(),
            seed: 0,
            inputs: Vec::new(),
            checkpoint: None,
            out_dir: self.folder.path().join("out"),
            limits: Limits::default(),
            gpu: false,
            gpu_class: None,
            profile: Profile::default(),
            tenant: tenant.into(),
            trace: TraceIds::default(),
        };
        let (events, _listener) = mpsc::channel(EVENTS_WAITING);
        let started = Instant::now();
        let outcome = self.executor.run(spec, events, CancellationToken::new());
        let outcome = outcome.await;
        let took = started.elapsed();
        ensure!(
            outcome.end == End::Ok,
            "the run ended so: {:?}",
            outcome.end
        );
        outcome.result.context("it has no result")?;
        Ok(took)
    }
}
