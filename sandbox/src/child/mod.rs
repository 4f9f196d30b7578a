//! The executor process: it confines itself, says how on the socket that is its standard input, and then does what it is asked
//! to, one request after the other, until the socket closes.
//!
//! It trusts its parent and nothing else. The guest has no way to reach a file, a socket or the clock but through
//! [`crate::host`]. What a run leaves in the process is dropped with its store; a panic, a limit, a trap or an error of the host
//! is the process's last run, which is the parent's rule ([`crate::pool`]) and not this one's.

mod compile;
mod modules;
mod took;

use std::any::Any;
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use aevir_gpu::Devices;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::classify::TEXT_BYTES_MAX;
use crate::confine::{Role, confine};
use crate::engine::{Engines, Profile};
use crate::host::EventSink;
use crate::host::files::Files;
use crate::ipc::{Hello, Reply, Request, RunRequest, send};
use crate::outcome::{End, Outcome, RunEvent, TrapKind};
use crate::passing::receive_with_files;
use crate::run::{self, Remains};
use crate::said::Said;
use aevir_gpu::error::cut;
use modules::{LoadError, Modules};
use took::Meter;

pub(crate) use modules::MODULES_MAX;

/// Environment variable: the process's role.
pub(crate) const ROLE_VAR: &str = "AEVIR_EXECUTOR_ROLE";
/// Environment variable: the process's own folder.
pub(crate) const DIR_VAR: &str = "AEVIR_EXECUTOR_DIR";
/// Environment variable: `json` or `text` for logs on standard error; unset for none.
pub const LOG_VAR: &str = "AEVIR_EXECUTOR_LOG";

/// Stack of the thread that runs guests: the guest's own megabyte, and room for the recursive parsers of WGSL and
/// WebAssembly, which are bounded in depth but not sized for a small stack.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Heap that a process has ready for its first run, in blocks of so many bytes (an allocator keeps small, middling and large ones apart) and so
/// many of each: 5 MiB, what loading and instantiating a component of 18 MB takes. Else the run meets some six hundred pages that the system
/// first has to give, a microsecond each.
const HEAP_READY: [(usize, usize); 3] = [(4 * 1024, 512), (32 * 1024, 64), (1024 * 1024, 1)];

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
    close_inherited();
    allow_huge_pages();
    init_log();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "executor failed");
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Closes what whoever started the node left open for its children by mistake: it would be in a guest's reach.
fn close_inherited() {
    const FIRST_OTHER: libc::c_uint = 3;
    // SAFETY: this is the first thing that the process does; nothing in it owns a descriptor but the three that stay.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, libc::c_uint::MAX, 0) };
}

/// An allocator that was told to use no huge pages may have asked the system for none in the whole process; they are a guest's memory's and a
/// driver's to have where the system gives them.
fn allow_huge_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(false) {
        tracing::debug!(%error, "huge pages stay off");
    }
}

/// What the process has for all of its requests.
struct Executor {
    socket: UnixStream,
    dir: PathBuf,
    role: Role,
    engines: Engines,
    modules: Modules,
    meter: Meter,
    /// Of one requester, as the whole process.
    devices: Devices,
    said: Said,
}

fn serve() -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let role = variable(ROLE_VAR)?;
    let role = Role::from_name(&role)
        .ok_or_else(|| io::Error::other(format!("{ROLE_VAR} is `{role}`, which is no role")))?;
    let dir = PathBuf::from(variable(DIR_VAR)?);
    let (engines, pooled) = engines(role)
        .map_err(|error| io::Error::other(format!("there is no WebAssembly engine: {error:#}")))?;
    // Its file can't be opened any more once the process is confined.
    let meter = Meter::of(role);
    let said = match role {
        Role::Compile => Said::default(),
        Role::Cpu | Role::Gpu => Said::in_folder(&dir)?,
    };
    let confinement = confine(role, &dir, pooled);
    die_with_parent(socket.try_clone()?)?;
    let hello = Hello {
        compatibility: engines.compatibility(),
        confinement,
    };
    send(&mut socket, &Reply::Hello(Box::new(hello)))?;
    let executor = Executor {
        socket,
        role,
        modules: Modules::new(&engines, &dir),
        said,
        dir,
        engines,
        meter,
        devices: Devices::default(),
    };
    let thread = std::thread::Builder::new()
        .name("guest".into())
        .stack_size(STACK_BYTES)
        .spawn(move || executor.work())?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the executor's thread panicked")))
}

fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|_| {
        io::Error::other(format!(
            "{name} is not set: an executor process is started by a node, not by hand"
        ))
    })
}

/// The engines of a role, and whether their memories come from pools.
fn engines(role: Role) -> wasmtime::Result<(Engines, bool)> {
    if role == Role::Compile {
        return Ok((Engines::on_demand()?, false));
    }
    match Engines::pooled() {
        Ok(engines) => Ok((engines, true)),
        Err(error) => {
            tracing::warn!(%error, "no pool of memories; each run maps its own");
            Ok((Engines::on_demand()?, false))
        }
    }
}

impl Executor {
    /// Answers requests until the parent is done.
    fn work(mut self) -> io::Result<()> {
        let panic = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            tracing::error!(%info, "panic in the executor");
            panic(info);
        }));
        if self.role != Role::Compile {
            for profile in Profile::ALL {
                self.modules.linker(profile).map_err(|error| {
                    io::Error::other(format!("the host functions can't be linked: {error:#}"))
                })?;
            }
        }
        if self.role != Role::Compile {
            self.touch_heap();
        }
        while let Some((request, files)) = receive_with_files::<Request>(&mut self.socket)? {
            match request {
                Request::Run(request) => self.run(*request, files)?,
                Request::Compile(request) => {
                    let engine = self.engines.of(request.profile);
                    let reply = compile::compile(engine, request.bounds, files)?;
                    send(&mut self.socket, &reply)?;
                }
                Request::Judge(request) => {
                    let engine = self.engines.of(Profile::default());
                    let reply = compile::judge(engine, &self.meter, request, files)?;
                    send(&mut self.socket, &reply)?;
                }
                Request::ProbeGpu(limits) => {
                    let adapter = probe(&limits);
                    send(&mut self.socket, &Reply::Adapter(adapter))?;
                }
            }
        }
        Ok(())
    }

    /// Takes memory from the system that the first run is going to want, for as long as no request waits; the allocator keeps what is freed.
    fn touch_heap(&self) {
        let mut heap = Vec::new();
        for (bytes, blocks) in HEAP_READY {
            if is_readable(self.socket.as_fd()) {
                return;
            }
            heap.extend((0..blocks).map(|_| black_box(vec![1_u8; bytes])));
        }
    }

    /// Runs a module; a panic of the host becomes an outcome.
    fn run(&mut self, request: RunRequest, files: Vec<File>) -> io::Result<()> {
        let ids = &request.spec.trace;
        let span = tracing::info_span!(
            "run",
            task = ids.task,
            assignment = ids.assignment,
            node = ids.node
        );
        let _entered = span.enter();
        let ran = catch_unwind(AssertUnwindSafe(|| self.reply(request, files)));
        let (reply, remains) = ran.unwrap_or_else(|panic| {
            let text = format!("the executor panicked: {}", panic_text(&*panic));
            Ok((host_error(text), None))
        })?;
        if let Reply::Outcome(outcome) = &reply {
            tracing::info!(end = ?outcome.end, usage = ?outcome.usage, "run ended");
        }
        send(&mut self.socket, &reply)?;
        drop(remains);
        match reply {
            Reply::Outcome(_) => send(&mut self.socket, &Reply::Wiped),
            // Nothing was run, and the process is not used again.
            _ => Ok(()),
        }
    }

    /// Runs a module; the answer, and what is to be dropped once it is given.
    fn reply(
        &mut self,
        request: RunRequest,
        files: Vec<File>,
    ) -> io::Result<(Reply, Option<Remains>)> {
        // First of all: a run that does not begin has said nothing.
        let said = self.said.anew();
        let RunRequest {
            mut spec,
            has_checkpoint,
            info,
            code,
        } = request;
        if spec.gpu && self.role != Role::Gpu {
            let text = "a run with a GPU came to an executor without one";
            return Ok((host_error(text), None));
        }
        if let Some(end) = run::declared(&info, &spec.limits) {
            return Ok((Reply::Outcome(Box::new(Outcome::empty(end))), None));
        }
        let module = match self.modules.get(code, info, spec.profile) {
            Ok(module) => module,
            Err(LoadError::Code(text)) => return Ok((Reply::BadCode(text), None)),
            Err(LoadError::Link(text)) => {
                let kind = TrapKind::Module;
                let text = cut(
                    format!("the module can't be linked: {text}"),
                    TEXT_BYTES_MAX,
                );
                let outcome = Outcome::empty(End::Trap { kind, text });
                return Ok((Reply::Outcome(Box::new(outcome)), None));
            }
            Err(LoadError::Host(text)) => {
                let text = format!("the compiled module can't be loaded: {text}");
                return Ok((host_error(text), None));
            }
        };
        let mut files = files;
        let checkpoint = if has_checkpoint { files.pop() } else { None };
        if files.len() != spec.inputs.len() || checkpoint.is_some() != has_checkpoint {
            let text = "the executor was not given the declared files";
            return Ok((host_error(text), None));
        }
        spec.out_dir.clone_from(&self.dir);
        let spec = Arc::new(spec);
        let files = Files::new(&spec, files, checkpoint);
        let mut socket = self.socket.try_clone()?;
        let events = Box::new(move |event: RunEvent| send(&mut socket, &Reply::Event(event)));
        let told: (EventSink, Said) = (events, said);
        let (outcome, remains) = run::run(&spec, &module, files, &mut self.devices, told);
        Ok((Reply::Outcome(Box::new(outcome)), Some(remains)))
    }
}

/// The answer of a run that the host failed.
fn host_error(text: impl Into<String>) -> Reply {
    Reply::Outcome(Box::new(Outcome::host_error(text)))
}

/// Opens the GPU, and measures it, for a node's profile.
fn probe(limits: &aevir_gpu::GpuLimits) -> Result<aevir_gpu::AdapterInfo, String> {
    let mut gpu = aevir_gpu::Gpu::open(limits).map_err(|error| error.to_string())?;
    gpu.measure().map_err(|error| error.to_string())?;
    Ok(gpu.info().clone())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}

/// Ends this process when the parent's end of the socket closes, which it does however the parent dies. (`PR_SET_PDEATHSIG`
/// would fire when the *thread* that started us ends, and an async runtime ends threads at will.)
fn die_with_parent(socket: UnixStream) -> io::Result<()> {
    let watch = move || {
        wait_for_hangup(socket.as_fd());
        // Not `exit`: a hung GPU driver's exit handlers could block.
        let _ = raise(Signal::SIGKILL);
    };
    std::thread::Builder::new()
        .name("parent".into())
        .spawn(watch)?;
    Ok(())
}

/// Whether a request waits, or the parent is gone.
fn is_readable(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) != Ok(0)
}

fn wait_for_hangup(socket: BorrowedFd<'_>) {
    // Nothing is asked for, so requests do not wake this thread: the other end's closing is always reported.
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    while poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
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
