//! The parent's side of a run: finds the compiled module, takes a process, passes events on, and ends it in time.

mod conversation;
pub(crate) mod environment;
mod probe;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cache::{Artefact, ArtefactStore, CACHE_BYTES_MAX};
use crate::child::LogFormat;
use crate::compile::Compiler;
use crate::confine::Role;
use crate::engine::Engines;
use crate::host::files::OUTPUTS_DIR;
use crate::limited::CompileLimits;
use crate::limits::LOAD_MS_MAX;
use crate::outcome::{End, Outcome, RunEvent, TrapKind};
use crate::pool::{Pool, PoolConfig, Worker};
use crate::process::{Ended, Launcher, Process};
use crate::spec::RunSpec;
use crate::watch::{self, HOST_BYTES_MAX};
use conversation::{Answer, Broken, converse};

pub use probe::{ProbeError, Started};

/// How often a compiled module may be gone when it is to be used, until something else must be wrong.
const MISSES_MAX: u32 = 3;
/// How executors are started.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The program whose `main` calls [`crate::executor_main`] when it is given `args`.
    pub program: PathBuf,
    /// Its arguments, such as `["executor"]`.
    pub args: Vec<String>,
    /// The folder of compiled modules; made if it is missing, and open to this user alone.
    pub cache_dir: PathBuf,
    /// More environment variables for the child; they win over inherited ones.
    pub env: BTreeMap<String, String>,
    /// Logs of the child on this process's standard error.
    pub log: Option<LogFormat>,
}

/// How executors are kept and bounded, where the defaults do not fit.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Waiting processes.
    pub pool: PoolConfig,
    /// Bounds of a compilation.
    pub compile: CompileLimits,
    /// Most bytes of compiled modules that are kept.
    pub cache_bytes_max: u64,
    /// Bytes of memory that a process may take beyond what its run's limits grant.
    pub host_bytes_max: u64,
}

impl Tuning {
    /// For a program that runs one task and ends: nothing is started in advance.
    #[must_use]
    pub fn one_run() -> Self {
        Self {
            pool: PoolConfig {
                warm: 0,
                ..PoolConfig::default()
            },
            ..Self::default()
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            pool: PoolConfig::default(),
            compile: CompileLimits::default(),
            cache_bytes_max: CACHE_BYTES_MAX,
            host_bytes_max: HOST_BYTES_MAX,
        }
    }
}

/// Runs modules. Cheap to clone; clones share processes and compiled modules.
#[derive(Debug, Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

/// A compiled module, which stays in the store until this is dropped, whatever else needs the room.
#[derive(Debug)]
#[must_use]
pub struct Compiled(#[allow(dead_code, reason = "held, not read")] Artefact);

#[derive(Debug)]
struct Inner {
    launcher: Arc<Launcher>,
    pool: Arc<Pool>,
    /// Why there is none: a run says so. `new` can't fail, for a node must be able to report it.
    compiler: Result<Arc<Compiler>, String>,
    host_bytes_max: u64,
}

impl Executor {
    /// Prepares to start `config.program`. The Vulkan driver is chosen here, once: see [`aevir_gpu::driver`].
    #[must_use]
    pub fn new(config: ExecutorConfig) -> Self {
        Self::tuned(config, Tuning::default())
    }

    /// The same with other numbers.
    #[must_use]
    pub fn tuned(config: ExecutorConfig, tuning: Tuning) -> Self {
        let engine = Engines::on_demand().map(|engines| engines.compatibility());
        let store = ArtefactStore::open(&config.cache_dir, tuning.cache_bytes_max);
        let compatibility = engine.as_ref().cloned().unwrap_or_default();
        let launcher = Arc::new(Launcher::new(&config, compatibility));
        launcher.sweep();
        let compiler = match (engine, store) {
            (Ok(_), Ok(store)) => Ok(Arc::new(Compiler::new(
                Arc::clone(&launcher),
                store,
                tuning.compile,
            ))),
            (Err(error), _) => Err(format!("there is no WebAssembly engine: {error:#}")),
            (_, Err(error)) => Err(format!(
                "the folder of compiled modules {} can't be used: {error}",
                config.cache_dir.display()
            )),
        };
        let pool = Pool::new(Arc::clone(&launcher), tuning.pool);
        Self {
            inner: Arc::new(Inner {
                launcher,
                pool,
                compiler,
                host_bytes_max: tuning.host_bytes_max,
            }),
        }
    }

    /// Starts processes in advance, as many as configured; does not wait for them. Without it the first run starts its own.
    pub fn warm(&self) {
        self.inner.pool.warm();
    }

    /// Ends all processes that wait. Those that are in use end with their runs.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// Has all compiled modules together take at most so many bytes from now on: see [`ArtefactStore::set_bound`]. Answers how many they take.
    pub fn bound_compiled(&self, bytes: u64) -> u64 {
        let Ok(compiler) = &self.inner.compiler else {
            return 0;
        };
        compiler.store.set_bound(bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "the compiled modules can't be counted");
            compiler.store.bytes_held()
        })
    }

    /// The compiled module of `spec`, if it is there, so that a run begins at once.
    pub async fn compiled(&self, spec: &RunSpec) -> Option<Compiled> {
        let compiler = self.inner.compiler.as_ref().ok()?;
        compiler.found(spec).await.map(Compiled)
    }

    /// Compiles the module of `spec`, for a run to come, in so many bytes of memory that the caller holds for it: what it was judged to need.
    /// He holds a core for it, too, so that as many are compiled at once as are asked for. Dropping the future ends it.
    ///
    /// # Errors
    /// How a run of it would end.
    pub async fn compile(&self, spec: &RunSpec, memory_bytes: u64) -> Result<Compiled, End> {
        match &self.inner.compiler {
            Ok(compiler) => compiler.in_room(spec, memory_bytes).await.map(Compiled),
            Err(text) => Err(End::HostError { text: text.clone() }),
        }
    }

    /// Runs `spec` in a process that serves nobody else and answers how it ended; never fails otherwise. Events go to `events`
    /// in order; a full channel makes the guest wait (its wall clock goes on). `cancel` kills the process, and so does
    /// dropping the future.
    pub async fn run(
        &self,
        spec: RunSpec,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> Outcome {
        if let Err(error) = spec.check() {
            return Outcome::host_error(error.to_string());
        }
        let compiler = match &self.inner.compiler {
            Ok(compiler) => compiler,
            Err(text) => return Outcome::host_error(text),
        };
        let mut remade = false;
        let mut misses = 0;
        loop {
            let artefact = tokio::select! {
                artefact = compiler.in_turn(&spec) => artefact,
                () = cancel.cancelled() => Err(End::Cancelled),
            };
            let artefact = match artefact {
                Ok(artefact) => artefact,
                Err(end) => return Outcome::empty(end),
            };
            match self.attempt(&spec, &artefact, &events, &cancel).await {
                Attempt::Ended(outcome) => return *outcome,
                // Another run's module took its place between two looks; it is compiled again.
                Attempt::Missed if misses < MISSES_MAX => misses += 1,
                Attempt::Missed => {
                    return Outcome::host_error(
                        "the compiled module is removed as often as it is made",
                    );
                }
                // What was just made and still can't be loaded is the module's fault: too large for any pool, for example.
                Attempt::BadCode(text) if remade => {
                    return Outcome::empty(End::Trap {
                        kind: TrapKind::Module,
                        text: format!("the compiled module can't be loaded: {text}"),
                    });
                }
                Attempt::BadCode(text) => {
                    tracing::warn!(text, "a compiled module can't be loaded and is made anew");
                    compiler.store.discard(&compiler.key(&spec));
                    remade = true;
                }
            }
        }
    }

    async fn attempt(
        &self,
        spec: &RunSpec,
        artefact: &Artefact,
        events: &mpsc::Sender<RunEvent>,
        cancel: &CancellationToken,
    ) -> Attempt {
        let role = if spec.gpu { Role::Gpu } else { Role::Cpu };
        let worker = tokio::select! {
            worker = self.inner.pool.acquire(role, &spec.tenant) => worker,
            () = cancel.cancelled() => return Attempt::ended(Outcome::empty(End::Cancelled)),
        };
        let mut worker = match worker {
            Ok(worker) => worker,
            Err(error) => return Attempt::ended(Outcome::host_error(error.to_string())),
        };
        let process = &mut worker.process;
        if let Err(error) = process.link(artefact) {
            if error.kind() == io::ErrorKind::NotFound {
                worker.process.end(false).await;
                return Attempt::Missed;
            }
            let text = format!("the compiled module can't be given to an executor: {error}");
            return Attempt::ended(Outcome::host_error(text));
        }
        let bytes_max = watch::allowance(&spec.limits, spec.gpu, self.inner.host_bytes_max);
        let left_bytes = worker.left_bytes;
        let process = &mut worker.process;
        let pid = process.pid();
        let (sent, mut heard) = (Instant::now(), 0);
        let ended = tokio::select! {
            ended = converse(process, spec, artefact, events, &mut heard) => ended,
            () = cancel.cancelled() => Err(Broken::Cancelled),
            () = watch::passed(pid, bytes_max.saturating_add(left_bytes)) => Err(Broken::HostMemory(bytes_max, sent.elapsed())),
        };
        let host_memory = (bytes_max, sent.elapsed());
        self.conclude(worker, spec, ended, (heard, host_memory))
            .await
    }

    /// Gives the process back or ends it, and says how the run ended, and how many of its lines were not heard.
    async fn conclude(
        &self,
        worker: Worker,
        spec: &RunSpec,
        ended: Result<Answer, Broken>,
        (heard, (bytes_max, after)): (u64, (u64, Duration)),
    ) -> Attempt {
        let outcome = match ended {
            Ok(Answer::Outcome(outcome)) => {
                let mut outcome = take_outputs(&worker.process, *outcome, &spec.out_dir).await;
                match outcome.end {
                    End::Ok | End::GuestError { .. } => self.inner.pool.release(worker).await,
                    End::Trap { .. }
                    | End::Limit { .. }
                    | End::HostError { .. }
                    | End::Cancelled => {
                        let unheard = worker.process.end(false).await.unheard(heard);
                        outcome.log_lines_dropped = outcome.log_lines_dropped.max(unheard);
                    }
                }
                outcome
            }
            Ok(Answer::BadCode(text)) => {
                worker.process.end(false).await;
                return Attempt::BadCode(text);
            }
            Err(broken) => {
                let dying = matches!(broken, Broken::Socket(_));
                let ended = worker.process.end(dying).await;
                let broken = match (broken, ended.got_no_memory()) {
                    // It asked for more at once than the run may have on any machine.
                    (Broken::Socket(_), Some(asked)) if asked > bytes_max => {
                        Broken::HostMemory(bytes_max, after)
                    }
                    (Broken::Socket(_), Some(asked)) => Broken::NoMemory(asked),
                    (broken, _) => broken,
                };
                let mut outcome = broken_off(broken, &ended, spec);
                outcome.log_lines_dropped = ended.unheard(heard);
                outcome
            }
        };
        Attempt::ended(outcome)
    }
}

/// How a run ended whose process was killed, or died.
fn broken_off(broken: Broken, process: &Ended, spec: &RunSpec) -> Outcome {
    let limit = |limit: &str, value: u64| {
        let limit = limit.into();
        Outcome::empty(End::Limit { limit, value })
    };
    match broken {
        Broken::Wall => {
            let mut outcome = limit("wall", spec.limits.wall_ms);
            outcome.usage.wall_ms = spec.limits.wall_ms;
            outcome
        }
        Broken::HostMemory(value, after) => {
            let mut outcome = limit("host-memory", value);
            outcome.usage.wall_ms = after.as_millis() as u64;
            outcome.usage.peak_memory_bytes = value;
            outcome
        }
        Broken::Load => Outcome::host_error(format!(
            "the executor did not start the run within {LOAD_MS_MAX} ms"
        )),
        Broken::NoMemory(asked) => Outcome::host_error(format!(
            "this machine had no {asked} bytes of memory for the executor"
        )),
        Broken::File(text) => Outcome::host_error(text),
        Broken::Cancelled => Outcome::empty(End::Cancelled),
        Broken::Socket(error) => Outcome::host_error(process.describe(&error)),
    }
}

/// How an attempt at a run went.
enum Attempt {
    Ended(Box<Outcome>),
    /// The compiled code can't be loaded, and nothing was run.
    BadCode(String),
    /// There is no compiled code any more, and nothing was run.
    Missed,
}

impl Attempt {
    fn ended(outcome: Outcome) -> Self {
        Self::Ended(Box::new(outcome))
    }
}

/// Moves the outputs out of the process's folder.
async fn take_outputs(process: &Process, mut outcome: Outcome, out_dir: &Path) -> Outcome {
    for output in &mut outcome.outputs {
        match process.take(OUTPUTS_DIR, &output.name, out_dir).await {
            Ok(path) => output.path = path,
            Err(error) => {
                return Outcome::host_error(format!("an output can't be taken: {error}"));
            }
        }
    }
    outcome
}
