//! The parent's handle of one executor process: starting it, its folder, and that it is gone when it has to be.
//!
//! Each process has a folder of its own, locked as long as its parent lives, and the only one that it can write to: `code` (what it may load, linked in by the parent),
//! `outputs` and `checkpoints`, and `driver` for a GPU's. What a run wrote is moved out by the parent, which takes names from the child and never paths.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cache::Artefact;
use crate::child::{DIR_VAR, MODULES_MAX, ROLE_VAR};
use crate::confine::Role;
use crate::engine::Compatibility;
use crate::executor::{ExecutorConfig, environment};
use crate::folder::{Folder, make_private};
use crate::host::files::{CHECKPOINTS_DIR, OUTPUTS_DIR, is_name};
use crate::ipc::{CodeId, Hello, Reply, receive_async};
use crate::said::lines_in;

/// The folder of compiled code in a process's own.
pub(crate) const CODE_DIR: &str = "code";
/// The folder in which a GPU driver may keep shaders, sockets and temporary files: a process's own, so that none of it goes from one
/// requester to another.
pub(crate) const DRIVER_DIR: &str = "driver";
/// The variables by which drivers are told.
const DRIVER_DIR_VARS: [&str; 5] = [
    "MESA_SHADER_CACHE_DIR",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "__GL_SHADER_DISK_CACHE_PATH",
];
/// The folder of processes below that of the artefacts.
const PROCESSES_DIR: &str = "processes";
/// How the processes' folders are called.
const FOLDER_PREFIX: &str = "executor-";
/// How long a process may take until it says hello; it loads a program and reserves address space.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a killed process may take to be gone; one that hangs in a driver is left to the system.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process may take to give back what a run held: 4 GiB take a third of a second.
const WIPE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process that closed its socket may take to end by itself.
const DYING_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of one line of a child's standard error.
const STDERR_LINE_BYTES_MAX: u64 = 64 * 1024;
/// Last lines of it that go into the text of an unexpected end.
const STDERR_TAIL_LINES: usize = 5;
/// Most threads that compile one module: more would take a whole machine from its runs, and memory for each.
pub(crate) const COMPILE_THREADS_MAX: usize = 4;
/// The variable by which the compiler's thread pool is bounded.
const COMPILE_THREADS_VAR: &str = "RAYON_NUM_THREADS";
/// The variable by which the program's allocator, mimalloc, is kept from asking for huge pages where a guest is run: what loading a module
/// allocates is of many sizes, each size has a place of its own, and the first byte in each would cost the zeroing of 2 MiB. That was half of
/// a large component's first run. A compiler fills what it touches, and keeps them.
const HUGE_PAGES_VAR: &str = "MIMALLOC_ALLOW_THP";
/// The variable by which it keeps what was freed: the next run wants it again, and the process ends with its requester.
const PURGE_VAR: &str = "MIMALLOC_PURGE_DELAY";

/// The variable by which it only reserves the gigabyte of addresses that it begins with, where it would else have them committed at once: to
/// the system's bound on a compiler's memory they would count in full.
const EAGER_COMMIT_VAR: &str = "MIMALLOC_ARENA_EAGER_COMMIT";

/// How processes are started.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Where the processes' folders are: beside the artefacts, so that code can be linked.
    pub(crate) processes_dir: PathBuf,
    /// What the parent's own engine would compile for.
    pub(crate) compatibility: Compatibility,
    /// Cores that modules are compiled on, all together.
    pub(crate) cores: usize,
    /// Modules that are being judged or compiled.
    pub(crate) compiling: AtomicUsize,
}

/// One of the modules that are being compiled, until it is dropped.
#[derive(Debug)]
pub(crate) struct Compiling<'a>(&'a AtomicUsize);

impl Drop for Compiling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Threads that compile one of so many modules on so many cores.
fn compile_threads(cores: usize, modules: usize) -> usize {
    (cores / modules.max(1)).clamp(1, COMPILE_THREADS_MAX)
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("could not make a folder for an executor in {}: {source}", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
    #[error("could not start {}: {source}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("{} did not become an executor: {text}", program.display())]
    Hello { program: PathBuf, text: String },
    #[error(
        "{} is of another build than the program that started it; start both from one file", program.display()
    )]
    OtherBuild { program: PathBuf },
}

/// A started executor.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) socket: UnixStream,
    pub(crate) hello: Hello,
    pub(crate) born: Instant,
    child: Child,
    stderr: JoinHandle<String>,
    dir: Folder,
    /// What is linked into its folder, the one that was used last at the end.
    code: VecDeque<CodeId>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None where it did not go when it was killed.
    pub(crate) status: Option<ExitStatus>,
    /// The last lines of its standard error.
    pub(crate) stderr: String,
    /// How many lines its last run logged.
    pub(crate) lines: u64,
}

/// How a program that got no memory says so before it aborts: so many bytes at once.
const ALLOCATION_FAILED: &str = "memory allocation of ";

/// Makes a process's own folder, with what belongs in it.
fn own_folder(parent: &Path) -> io::Result<Folder> {
    let folder = Folder::new(parent, FOLDER_PREFIX)?;
    for name in [CODE_DIR, OUTPUTS_DIR, CHECKPOINTS_DIR, DRIVER_DIR] {
        make_private(&folder.path().join(name))?;
    }
    Ok(folder)
}

impl Launcher {
    /// Processes of `config.program`, whose folders are below that of the artefacts. The Vulkan driver is chosen here, once.
    pub(crate) fn new(config: &ExecutorConfig, compatibility: Compatibility) -> Self {
        Self {
            program: config.program.clone(),
            args: config.args.clone(),
            env: environment::of(config),
            processes_dir: config.cache_dir.join(PROCESSES_DIR),
            compatibility,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            compiling: AtomicUsize::new(0),
        }
    }

    /// Counts one more module that is being compiled: the next ones get fewer threads.
    pub(crate) fn compiles(&self) -> Compiling<'_> {
        self.compiling.fetch_add(1, Ordering::Relaxed);
        Compiling(&self.compiling)
    }

    /// Removes the folders of processes whose parent is gone.
    pub(crate) fn sweep(&self) {
        if let Err(error) = Folder::sweep(&self.processes_dir) {
            tracing::debug!(%error, "old folders of executors can't be looked for");
        }
    }

    /// Starts a process and waits for its hello.
    pub(crate) async fn start(&self, role: Role) -> Result<Process, StartError> {
        let program = self.program.clone();
        let dir = own_folder(&self.processes_dir).map_err(|source| StartError::Folder {
            dir: self.processes_dir.clone(),
            source,
        })?;
        let mut process = self.spawn(role, dir).map_err(|source| StartError::Spawn {
            program: program.clone(),
            source,
        })?;
        let text = match timeout(HELLO_TIMEOUT, receive_async(&mut process.socket)).await {
            Ok(Ok(Reply::Hello(hello))) => {
                process.hello = *hello;
                if process.hello.compatibility != self.compatibility {
                    process.end(false).await;
                    return Err(StartError::OtherBuild { program });
                }
                return Ok(process);
            }
            Ok(Ok(reply)) => {
                process.end(false).await;
                reply.unexpected().to_string()
            }
            Ok(Err(error)) => process.died(&error).await,
            Err(_) => {
                process.end(false).await;
                format!("it said nothing for {} s", HELLO_TIMEOUT.as_secs())
            }
        };
        Err(StartError::Hello { program, text })
    }

    /// Starts it, with a socket as its standard input.
    fn spawn(&self, role: Role, dir: Folder) -> io::Result<Process> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.program);
        command.env_clear();
        match role {
            Role::Compile => {
                let modules = self.compiling.load(Ordering::Relaxed);
                let threads = compile_threads(self.cores, modules);
                command
                    .env(COMPILE_THREADS_VAR, threads.to_string())
                    .env(EAGER_COMMIT_VAR, "0");
            }
            Role::Cpu | Role::Gpu => {
                command.env(HUGE_PAGES_VAR, "0").env(PURGE_VAR, "-1");
            }
        }
        let mut child = command
            .args(&self.args)
            .envs(&self.env)
            .env(ROLE_VAR, role.name())
            .env(DIR_VAR, dir.path())
            .envs(DRIVER_DIR_VARS.map(|name| (name, dir.path().join(DRIVER_DIR))))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null()) // drivers print there
            .stderr(Stdio::piped())
            // Not this terminal's group: an interrupt is for the node, which ends its runs in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take();
        Ok(Process {
            socket: UnixStream::from_std(ours)?,
            hello: Hello {
                compatibility: Compatibility::default(),
                confinement: crate::confine::Confinement::none(role),
            },
            born: Instant::now(),
            child,
            stderr: tokio::spawn(forward(stderr)),
            dir,
            code: VecDeque::new(),
        })
    }
}

impl Process {
    /// Its id, while it lives.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has given back what its run held. `false` when it does not: it is of no use any more.
    ///
    /// A run that began before would be judged by the memory of the one before it.
    pub(crate) async fn is_wiped(&mut self) -> bool {
        match timeout(WIPE_TIMEOUT, receive_async::<Reply>(&mut self.socket)).await {
            Ok(Ok(Reply::Wiped)) => true,
            Ok(Ok(reply)) => {
                tracing::warn!(error = %reply.unexpected(), "an executor is not used again");
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "an executor is not used again");
                false
            }
            Err(_) => {
                tracing::warn!(
                    wipe_s = WIPE_TIMEOUT.as_secs(),
                    "an executor gives its memory back too slowly"
                );
                false
            }
        }
    }

    /// Puts compiled code where it can load it.
    pub(crate) fn link(&mut self, artefact: &Artefact) -> io::Result<()> {
        if let Some(at) = self.code.iter().position(|id| *id == artefact.id) {
            self.code.remove(at);
        } else {
            let folder = self.dir.path().join(CODE_DIR);
            let path = folder.join(artefact.id.file_name());
            // Some file systems have no links.
            if fs::hard_link(&artefact.path, &path).is_err() {
                fs::copy(&artefact.path, &path)?;
            }
            if self.code.len() == MODULES_MAX
                && let Some(old) = self.code.pop_front()
            {
                fs::remove_file(folder.join(old.file_name()))?;
            }
        }
        self.code.push_back(artefact.id);
        Ok(())
    }

    /// Moves a file that a run wrote below `out_dir`; answers its new place.
    pub(crate) async fn take(&self, kind: &str, name: &str, out_dir: &Path) -> io::Result<PathBuf> {
        if !is_name(name) {
            return Err(io::Error::other(
                "the executor named a file with something else than a few plain characters",
            ));
        }
        let from = self.dir.path().join(kind).join(name);
        // A process that was taken over may have left something else there.
        if !fs::symlink_metadata(&from)?.is_file() {
            return Err(io::Error::other(format!("`{name}` is no plain file")));
        }
        let folder = out_dir.join(kind);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let to = folder.join(name);
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                tokio::fs::copy(&from, &to).await?;
            }
            moved => moved?,
        }
        Ok(to)
    }

    /// Removes what a run left in its folder.
    pub(crate) fn clean(&self) -> io::Result<()> {
        for kind in [OUTPUTS_DIR, CHECKPOINTS_DIR] {
            for entry in fs::read_dir(self.dir.path().join(kind))? {
                fs::remove_file(entry?.path())?;
            }
        }
        Ok(())
    }

    /// Kills it and waits until it is gone. `dying`: it closed its socket, so it is ending by itself, and how it does is worth
    /// a moment.
    pub(crate) async fn end(mut self, dying: bool) -> Ended {
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
        let lines = lines_in(self.dir.path());
        let stderr = self.stderr.await.unwrap_or_default();
        Ended {
            status,
            stderr,
            lines,
        }
    }

    /// Ends a process that can't be talked to; a sentence about how it did.
    pub(crate) async fn died(self, error: &io::Error) -> String {
        self.end(true).await.describe(error)
    }
}

impl Ended {
    /// A sentence about it, where the process can't be talked to.
    pub(crate) fn describe(&self, error: &io::Error) -> String {
        describe(self.status, error, &self.stderr)
    }

    /// How many bytes it asked for at once where it ended because the system had none for it.
    pub(crate) fn got_no_memory(&self) -> Option<u64> {
        let (_, asked) = self.stderr.rsplit_once(ALLOCATION_FAILED)?;
        let digits = asked.split(|c: char| !c.is_ascii_digit()).next();
        digits?.parse().ok()
    }

    /// Lines of its last run of which only so many were heard.
    pub(crate) fn unheard(&self, heard: u64) -> u64 {
        self.lines.saturating_sub(heard)
    }
}

/// A sentence for an executor that ended without an answer.
fn describe(status: Option<ExitStatus>, error: &io::Error, stderr: &str) -> String {
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(nix::libc::SIGSYS), _) => {
                "the executor was killed for a system call that it may not make (SIGSYS)".to_owned()
            }
            (Some(signal), _) => {
                let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
                format!("the executor died of signal {signal} ({name})")
            }
            (None, Some(code)) => {
                format!("the executor exited with code {code} ({error})")
            }
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
        // Nobody may be reading, which is no reason to stop listening.
        let _ = writeln!(io::stderr(), "{line}");
        if tail.len() == STDERR_TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    }
    Vec::from(tail).join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_are_compiled_at_once_share_the_cores() {
        let threads = |cores| [0, 1, 2, 3, 5, 100].map(|modules| compile_threads(cores, modules));
        assert_eq!(threads(1), [1; 6]);
        assert_eq!(threads(8), [4, 4, 4, 2, 1, 1]);
        assert_eq!(threads(usize::MAX), [COMPILE_THREADS_MAX; 6]);
    }
}
