//! Running a guest from a test: a folder of its own, an executor, and everything that the run said.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aevir_sandbox::{
    Accepted, CompileLimits, Executor, ExecutorConfig, Input, Judge, Limits, NotTaken, Outcome,
    Profile, RunEvent, RunSpec, TraceIds,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The bytes of `tests/guests/NAME.wat`.
pub fn guest(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/guests/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    wat::parse_file(path).unwrap_or_else(|error| panic!("{error}"))
}

/// How long a fuzz target runs.
pub fn fuzz_time() -> std::time::Duration {
    const SECONDS_DEFAULT: u64 = 30;
    let seconds = std::env::var("AEVIR_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("AEVIR_FUZZ_SECONDS is a number"));
    std::time::Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT))
}

/// `tests/hostile/templates/NAME.wat` with `body` in the place of `;;BODY`, and `realloc` in that of `;;REALLOC` if there is one.
pub fn hostile_template(name: &str, body: &str, realloc: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/templates");
    let path = format!("{folder}/{name}.wat");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(text.contains(";;BODY"), "{path}: no ;;BODY");
    let text = text.replacen(";;BODY", body, 1);
    text.replacen(";;REALLOC", realloc, 1)
}

/// The bytes of the example module `NAME.wasm`.
pub fn example(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/../examples/modules/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

/// The bytes of the example's data.
pub fn digits() -> Vec<u8> {
    std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/data/digits.csv.gz"
    ))
    .unwrap()
}

/// A folder with a module, inputs and an executor. Each run gets an output folder of its own.
pub struct Bench {
    pub dir: TempDir,
    pub executor: Executor,
    pub spec: RunSpec,
    runs: u32,
}

/// An executor's configuration.
fn config() -> ExecutorConfig {
    ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        // One cache for all tests: the examples take a while to compile.
        cache_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"),
        env: BTreeMap::new(),
        log: None,
    }
}

/// Judges an upload as a server does.
pub async fn judge(module: &[u8]) -> Result<Accepted, NotTaken> {
    let judge = Judge::new(&config(), CompileLimits::upload()).unwrap();
    judge.judge(module.to_vec()).await
}

/// What a run said and how it ended.
pub struct Ran {
    pub outcome: Outcome,
    pub events: Vec<RunEvent>,
}

impl Bench {
    pub fn new(module: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("module.wasm");
        std::fs::write(&path, module).unwrap();
        let executor = Executor::new(config());
        let spec = RunSpec {
            module: path,
            module_digest: hex::encode(Sha256::digest(module)),
            profile: Profile::default(),
            params: "{}".into(),
            seed: 7,
            inputs: Vec::new(),
            checkpoint: None,
            out_dir: PathBuf::new(),
            limits: Limits::default(),
            gpu: false,
            gpu_class: None,
            tenant: "tests".into(),
            trace: TraceIds::default(),
        };
        Self {
            dir,
            executor,
            spec,
            runs: 0,
        }
    }

    /// The configuration of its executor.
    pub fn config(&self) -> ExecutorConfig {
        config()
    }

    pub fn guest(name: &str) -> Self {
        Self::new(&guest(name))
    }

    pub fn params(mut self, params: &str) -> Self {
        self.spec.params = params.into();
        self
    }

    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.spec.limits);
        self
    }

    pub fn gpu(mut self) -> Self {
        self.spec.gpu = true;
        self
    }

    pub fn input(mut self, name: &str, bytes: &[u8]) -> Self {
        self.add_input(name, bytes);
        self
    }

    pub fn add_input(&mut self, name: &str, bytes: &[u8]) {
        // Names may hold slashes.
        let file = format!("input-{}", self.spec.inputs.len());
        let path = self.dir.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        self.spec.inputs.push(Input {
            name: name.into(),
            path,
            size: bytes.len() as u64,
        });
    }

    /// The spec with a fresh output folder.
    pub fn next_spec(&mut self) -> RunSpec {
        self.runs += 1;
        let mut spec = self.spec.clone();
        spec.out_dir = self.dir.path().join(format!("run-{}", self.runs));
        std::fs::create_dir(&spec.out_dir).unwrap();
        spec
    }

    pub async fn run(&mut self) -> Ran {
        self.run_with(CancellationToken::new(), |_| ()).await
    }

    /// Runs, and shows each event to `watch` when it comes.
    pub async fn run_with(
        &mut self,
        cancel: CancellationToken,
        mut watch: impl FnMut(&RunEvent),
    ) -> Ran {
        let spec = self.next_spec();
        let (sender, mut receiver) = mpsc::channel(1);
        let kept = self.dir.path().to_owned();
        let collect = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                let event = keep_checkpoint(event, &kept);
                watch(&event);
                events.push(event);
            }
            events
        };
        let (outcome, events) = tokio::join!(self.executor.run(spec, sender, cancel), collect);
        Ran { outcome, events }
    }
}

/// Copies a checkpoint's file into `folder`, for older ones are removed. The channel holds one event, so it is there.
pub fn keep_checkpoint(event: RunEvent, folder: &Path) -> RunEvent {
    let RunEvent::Checkpoint { path, digest, size } = event else {
        return event;
    };
    let kept = folder.join(format!("checkpoint-{digest}"));
    std::fs::copy(&path, &kept).unwrap();
    RunEvent::Checkpoint {
        path: kept,
        digest,
        size,
    }
}

impl Ran {
    /// The bytes of an output.
    pub fn output(&self, name: &str) -> Vec<u8> {
        let output = self
            .outcome
            .outputs
            .iter()
            .find(|output| output.name == name);
        let output = output.unwrap_or_else(|| panic!("no output `{name}`: {:?}", self.outcome));
        let bytes = std::fs::read(&output.path).unwrap();
        assert_eq!(output.size, bytes.len() as u64);
        assert_eq!(output.digest, hex::encode(Sha256::digest(&bytes)));
        bytes
    }

    /// The inline result.
    pub fn result(&self) -> &str {
        let result = self.outcome.result.as_deref();
        result.unwrap_or_else(|| panic!("no result: {:?}", self.outcome.end))
    }
}
