//! The executor process: one request on the socket that is its standard input, one run, one answer.
//!
//! It trusts its parent and nothing else. The guest has no way to reach a file, a socket or the clock but through
//! [`crate::host`]; the limits set here are a second line for what a flaw in a compiler or a driver might open.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::ipc::{Reply, Request, receive, send};
use crate::outcome::Outcome;
use crate::run;
use crate::spec::RunSpec;

/// Environment variable: the folder of compiled modules.
pub(crate) const CACHE_DIR_VAR: &str = "AEVIR_EXECUTOR_CACHE";
/// Environment variable: `json` or `text` for logs on standard error; unset for none.
pub const LOG_VAR: &str = "AEVIR_EXECUTOR_LOG";

/// Stack of the thread that runs guests: the guest's own megabyte, and room for the recursive parsers of WGSL and
/// WebAssembly, which are bounded in depth but not sized for a small stack.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Open files: the most inputs and outputs together, and what a GPU driver opens.
const OPEN_FILES_MAX: u64 = 4_096;

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The executor's `main`: call it first thing in a process that was started as one.
#[must_use]
pub fn executor_main() -> ExitCode {
    init_log();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "executor failed");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    harden();
    let request = receive(&mut socket)?;
    die_with_parent(socket.try_clone()?)?;
    match request {
        Request::Run(spec) => {
            let cache_dir = std::env::var_os(CACHE_DIR_VAR).map(PathBuf::from);
            let cache_dir =
                cache_dir.ok_or_else(|| io::Error::other(format!("{CACHE_DIR_VAR} is not set")))?;
            let outcome = run_on_thread(*spec, cache_dir, socket.try_clone()?);
            send(&mut socket, &Reply::Outcome(Box::new(outcome)))
        }
        Request::ProbeGpu(limits) => {
            let adapter = probe(&limits);
            send(&mut socket, &Reply::Adapter(adapter))
        }
    }
}

/// Opens the GPU, and measures it, for a node's profile.
fn probe(limits: &aevir_gpu::GpuLimits) -> Result<aevir_gpu::AdapterInfo, String> {
    let mut gpu = aevir_gpu::Gpu::open(limits).map_err(|error| error.to_string())?;
    gpu.measure().map_err(|error| error.to_string())?;
    Ok(gpu.info().clone())
}

/// Runs on a thread with a large stack; a panic of the host becomes an outcome.
fn run_on_thread(spec: RunSpec, cache_dir: PathBuf, mut socket: UnixStream) -> Outcome {
    let panicked = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&panicked);
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(%info, "panic in the executor");
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(info.to_string());
    }));
    let work = move || {
        let ids = &spec.trace;
        let span = tracing::info_span!(
            "run",
            task = ids.task,
            assignment = ids.assignment,
            node = ids.node
        );
        let _entered = span.enter();
        let outcome = execute(&spec, &cache_dir, &mut socket);
        tracing::info!(end = ?outcome.end, usage = ?outcome.usage, "run ended");
        outcome
    };
    let thread = std::thread::Builder::new()
        .name("guest".into())
        .stack_size(STACK_BYTES);
    let outcome = thread.spawn(work).map(std::thread::JoinHandle::join);
    match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            let text = panicked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Outcome::host_error(format!(
                "the executor panicked: {}",
                text.unwrap_or_default()
            ))
        }
        Err(error) => {
            Outcome::host_error(format!("the executor could not start a thread: {error}"))
        }
    }
}

fn execute(spec: &RunSpec, cache_dir: &Path, socket: &mut UnixStream) -> Outcome {
    match socket.try_clone() {
        Ok(mut socket) => run::run(
            spec,
            cache_dir,
            Box::new(move |event| send(&mut socket, &Reply::Event(event))),
        ),
        Err(error) => {
            Outcome::host_error(format!("the executor could not use its socket: {error}"))
        }
    }
}

/// Ends this process when the parent's end of the socket closes, which it does however the parent dies. (`PR_SET_PDEATHSIG`
/// would fire when the *thread* that started us ends, and an async runtime ends threads at will.)
fn die_with_parent(mut socket: UnixStream) -> io::Result<()> {
    let watch = move || {
        // The parent sends nothing after the request, so this blocks until the end.
        let _ = socket.read(&mut [0]);
        // Not `exit`: a hung GPU driver's exit handlers could block.
        let _ = raise(Signal::SIGKILL);
    };
    std::thread::Builder::new()
        .name("parent".into())
        .spawn(watch)?;
    Ok(())
}

/// No core dumps (they would hold a tenant's data), no new privileges, a bound on open files. No `RLIMIT_AS`: wasmtime and GPU
/// drivers reserve far more address space than they use.
fn harden() {
    let report = |what: &str, result: nix::Result<()>| {
        if let Err(error) = result {
            tracing::warn!(what, %error, "a limit could not be set");
        }
    };
    report("core", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    let files = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        let files = hard.min(OPEN_FILES_MAX);
        setrlimit(Resource::RLIMIT_NOFILE, files, files)
    });
    report("nofile", files);
    report("no_new_privs", nix::sys::prctl::set_no_new_privs());
}

fn init_log() {
    let Ok(format) = std::env::var(LOG_VAR) else {
        return;
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,aevir_sandbox=info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // A second subscriber can't be set; whoever set the first gets the lines.
    let _ = match format.as_str() {
        "json" => builder.json().flatten_event(true).try_init(),
        _ => builder.with_ansi(false).try_init(),
    };
}
