//! The parent's side: starts an executor process for each run, passes its events on, and ends it in time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aevir_gpu::{AdapterInfo, GpuLimits, select_driver};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::child::{CACHE_DIR_VAR, LOG_VAR, LogFormat};
use crate::host::files::{NAME_BYTES_MAX, OUTPUTS_DIR, is_name};
use crate::ipc::{Reply, Request, receive_async, send_async};
use crate::limits::COMPILE_MS_MAX;
use crate::outcome::{End, Outcome, RunEvent};
use crate::spec::RunSpec;

/// How long a killed process may take to be gone; one that hangs in a driver is left to the system.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process that closed its socket may take to end by itself.
const DYING_TIMEOUT: Duration = Duration::from_millis(500);
/// How long opening and probing a GPU may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one line of a child's standard error.
const STDERR_LINE_BYTES_MAX: u64 = 64 * 1024;
/// Last lines of it that go into the text of an unexpected end.
const STDERR_TAIL_LINES: usize = 5;
/// Variables that a child inherits: what dynamic linking, temporary files, GPU drivers and their shader caches need.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "RUST_LOG",
    "RUST_BACKTRACE",
    LOG_VAR,
];
/// Prefixes of more such variables.
const INHERITED_PREFIXES: [&str; 5] = ["VK_", "MESA_", "NVIDIA_", "CUDA_", "LP_"];

/// How executors are started.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The program whose `main` calls [`crate::executor_main`] when it is given `args`.
    pub program: PathBuf,
    /// Its arguments, such as `["executor"]`.
    pub args: Vec<String>,
    /// The folder of compiled modules; made if it is missing.
    pub cache_dir: PathBuf,
    /// More environment variables for the child; they win over inherited ones.
    pub env: BTreeMap<String, String>,
    /// Logs of the child on this process's standard error.
    pub log: Option<LogFormat>,
}

/// Starts executors. Cheap to clone; runs are independent of each other.
#[derive(Debug, Clone)]
pub struct Executor {
    config: ExecutorConfig,
    env: BTreeMap<String, String>,
}

/// Why the GPU could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No adapter, or none that computes right.
    #[error("{0}")]
    Adapter(String),
    /// The executor process failed.
    #[error("the executor failed: {0}")]
    Executor(String),
}

impl Executor {
    /// Prepares to start `config.program`. The Vulkan driver is chosen here, once: see [`aevir_gpu::driver`].
    #[must_use]
    pub fn new(config: ExecutorConfig) -> Self {
        let choice = select_driver();
        tracing::debug!(reason = choice.reason, "Vulkan driver chosen");
        let is_inherited = |name: &str| {
            INHERITED.contains(&name)
                || INHERITED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        };
        let mut env: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| is_inherited(name))
            .collect();
        env.extend(choice.env);
        if let Some(format) = config.log {
            let format = match format {
                LogFormat::Json => "json",
                LogFormat::Text => "text",
            };
            env.insert(LOG_VAR.into(), format.into());
        }
        env.insert(CACHE_DIR_VAR.into(), config.cache_dir.display().to_string());
        env.extend(config.env.clone());
        Self { config, env }
    }

    /// Runs `spec` in a process of its own and answers how it ended; never fails otherwise. Events go to `events` in order;
    /// a full channel makes the guest wait (its wall clock goes on). `cancel` kills the process, and so does dropping the
    /// future.
    pub async fn run(
        &self,
        spec: RunSpec,
        events: mpsc::Sender<RunEvent>,
        cancel: CancellationToken,
    ) -> Outcome {
        if let Err(error) = spec.check() {
            return Outcome::host_error(error.to_string());
        }
        let mut process = match Process::start(self) {
            Ok(process) => process,
            Err(error) => return Outcome::host_error(self.not_started(&error)),
        };
        let out_dir = spec.out_dir.clone();
        let wall_ms = spec.limits.wall_ms;
        let ended = tokio::select! {
            ended = converse(&mut process.socket, spec, &events) => ended,
            () = cancel.cancelled() => Ok(Outcome::empty(End::Cancelled)),
        };
        let dying = matches!(ended, Err(Broken::Socket(_)));
        let (status, stderr) = process.end(dying).await;
        match ended {
            Ok(outcome) => confine(outcome, &out_dir),
            Err(Broken::Compile) => limit("compile", COMPILE_MS_MAX),
            Err(Broken::Wall) => {
                let mut outcome = limit("wall", wall_ms);
                outcome.usage.wall_ms = wall_ms;
                outcome
            }
            Err(Broken::Socket(error)) => Outcome::host_error(died(status, &error, &stderr)),
        }
    }

    /// Opens the GPU in a process of its own and says what it is, so that a bad driver can't harm this one.
    ///
    /// # Errors
    /// No usable adapter, or no executor.
    pub async fn probe_gpu(&self, limits: &GpuLimits) -> Result<AdapterInfo, ProbeError> {
        let mut process =
            Process::start(self).map_err(|error| ProbeError::Executor(self.not_started(&error)))?;
        let answer = timeout(PROBE_TIMEOUT, async {
            send_async(&mut process.socket, &Request::ProbeGpu(limits.clone())).await?;
            receive_async::<Reply>(&mut process.socket).await
        });
        let answer = answer.await;
        let (status, stderr) = process.end(matches!(answer, Ok(Err(_)))).await;
        match answer {
            Ok(Ok(Reply::Adapter(adapter))) => adapter.map_err(ProbeError::Adapter),
            Ok(Ok(Reply::Event(_) | Reply::Outcome(_))) => {
                Err(ProbeError::Executor("it gave a wrong answer".into()))
            }
            Ok(Err(error)) => Err(ProbeError::Executor(died(status, &error, &stderr))),
            Err(_) => Err(ProbeError::Adapter(
                "the GPU's driver did not answer in time".into(),
            )),
        }
    }

    fn not_started(&self, error: &io::Error) -> String {
        format!("could not start {}: {error}", self.config.program.display())
    }
}

/// Why a conversation ended without an outcome.
enum Broken {
    /// Compiling took too long.
    Compile,
    /// The run took too long.
    Wall,
    /// The child is gone or talks nonsense.
    Socket(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

/// Sends the request and passes events on until the outcome. The wall clock starts with [`RunEvent::Started`].
async fn converse(
    socket: &mut UnixStream,
    spec: RunSpec,
    events: &mpsc::Sender<RunEvent>,
) -> Result<Outcome, Broken> {
    let wall = Duration::from_millis(spec.limits.wall_ms);
    let compile = Duration::from_millis(COMPILE_MS_MAX);
    let first = timeout(compile, async {
        send_async(&mut *socket, &Request::Run(Box::new(spec))).await?;
        receive_async::<Reply>(&mut *socket).await
    });
    let first = first.await.map_err(|_| Broken::Compile)??;
    let rest = async {
        let mut reply = first;
        loop {
            match reply {
                Reply::Outcome(outcome) => return Ok(*outcome),
                Reply::Event(event) => {
                    // Nobody listening is no reason to stop.
                    let _ = events.send(event).await;
                }
                Reply::Adapter(_) => {
                    let error =
                        io::Error::new(io::ErrorKind::InvalidData, "it gave a wrong answer");
                    return Err(Broken::Socket(error));
                }
            }
            reply = receive_async(&mut *socket).await?;
        }
    };
    timeout(wall, rest).await.map_err(|_| Broken::Wall)?
}

fn limit(limit: &str, value: u64) -> Outcome {
    Outcome::empty(End::Limit {
        limit: limit.into(),
        value,
    })
}

/// Takes output paths from their names, so that a taken-over executor can't point its parent at other files.
fn confine(mut outcome: Outcome, out_dir: &Path) -> Outcome {
    if outcome.outputs.iter().any(|output| !is_name(&output.name)) {
        return Outcome::host_error(format!(
            "the executor named an output with something else than {NAME_BYTES_MAX} plain characters"
        ));
    }
    for output in &mut outcome.outputs {
        output.path = out_dir.join(OUTPUTS_DIR).join(&output.name);
    }
    outcome
}

/// A sentence for an executor that ended without an answer.
fn died(status: Option<ExitStatus>, error: &io::Error, stderr: &str) -> String {
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => {
                let name = nix::sys::signal::Signal::try_from(signal);
                let name = name.map_or("unknown", nix::sys::signal::Signal::as_str);
                format!("the executor died of signal {signal} ({name})")
            }
            (None, Some(code)) => format!("the executor exited with code {code}"),
            (None, None) => "the executor ended".to_owned(),
        },
        None => {
            format!("the executor could not be talked to ({error}) and did not go away when killed")
        }
    };
    if stderr.is_empty() {
        how
    } else {
        format!("{how}; its last words: {stderr}")
    }
}

/// A started executor.
struct Process {
    child: Child,
    socket: UnixStream,
    stderr: JoinHandle<String>,
}

impl Process {
    /// Starts one, with a socket as its standard input.
    fn start(executor: &Executor) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new(&executor.config.program)
            .args(&executor.config.args)
            .env_clear()
            .envs(&executor.env)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null()) // drivers print there
            .stderr(Stdio::piped())
            // Not this terminal's group: an interrupt is for the node, which ends its runs in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take();
        Ok(Self {
            child,
            socket: UnixStream::from_std(ours)?,
            stderr: tokio::spawn(forward(stderr)),
        })
    }

    /// Kills it and waits until it is gone. `dying`: it closed its socket, so it is ending by itself, and how it does is worth
    /// a moment. Answers its status, unless it did not go, and the last lines that it wrote.
    async fn end(mut self, dying: bool) -> (Option<ExitStatus>, String) {
        let mut status = None;
        if dying {
            let waited = timeout(DYING_TIMEOUT, self.child.wait()).await;
            status = waited.ok().and_then(Result::ok);
        }
        if status.is_none() {
            if let Err(error) = self.child.start_kill() {
                tracing::warn!(%error, "an executor could not be killed");
            }
            status = timeout(REAP_TIMEOUT, self.child.wait())
                .await
                .ok()
                .and_then(Result::ok);
        }
        if status.is_none() {
            tracing::error!(pid = self.child.id(), "an executor does not go away");
            self.stderr.abort();
        }
        let stderr = self.stderr.await.unwrap_or_default();
        (status, stderr)
    }
}

/// Copies a child's standard error to this process's, line by line, and keeps the last lines.
async fn forward(stderr: Option<ChildStderr>) -> String {
    let mut tail = VecDeque::new();
    let Some(stderr) = stderr else {
        return String::new();
    };
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut reader)
            .take(STDERR_LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(n) if n > 0 => {}
            _ => break,
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        eprintln!("{line}");
        if tail.len() == STDERR_TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    }
    Vec::from(tail).join(" | ")
}
