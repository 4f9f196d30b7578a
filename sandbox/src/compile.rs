//! Compiling a module in a process of its own, once, whoever asks at the same time.
//!
//! A compiler is the largest piece of code that a stranger's bytes reach, so it gets the tightest walls: no files but the two that it
//! is handed, bounds on processor time, memory and real time, and it ends after one module.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::{Artefact, ArtefactStore};
use crate::confine::Role;
use crate::engine::Profile;
use crate::ipc::{CompileRequest, NotCompiled, Reply, Request, receive_async};
use crate::limits::{
    COMPILE_CPU_S_MAX, COMPILE_MEMORY_BYTES_MAX, COMPILE_MS_MAX, MODULE_BYTES_MAX,
};
use crate::outcome::{End, TrapKind};
use crate::passing::{Handed, send_with_files};
use crate::process::{Launcher, describe};
use crate::spec::RunSpec;

/// Modules compiled at the same time; each may take [`COMPILE_MEMORY_BYTES_MAX`] of memory and several cores.
const COMPILES_MAX: usize = 2;
/// How a program that got no memory says so before it aborts.
const ALLOCATION_FAILED: &str = "memory allocation of";
/// Where the system says whether it gives out more memory than it has, and how it says that it never does.
const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const NEVER: &str = "2";

/// What one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Seconds of processor time, of all threads together.
    pub cpu_s: u64,
    /// Milliseconds of real time.
    pub wall_ms: u64,
    /// Bytes of writable memory.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu_s: COMPILE_CPU_S_MAX,
            wall_ms: COMPILE_MS_MAX,
            memory_bytes: COMPILE_MEMORY_BYTES_MAX,
        }
    }
}

/// Compiles into a store.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) store: ArtefactStore,
    limits: CompileLimits,
    permits: Semaphore,
}

impl Compiler {
    pub(crate) fn new(
        launcher: Arc<Launcher>,
        store: ArtefactStore,
        limits: CompileLimits,
    ) -> Self {
        Self {
            launcher,
            store,
            limits,
            permits: Semaphore::new(COMPILES_MAX),
        }
    }

    /// The key of a spec's module.
    pub(crate) fn key(&self, spec: &RunSpec) -> String {
        let compatibility = self.launcher.compatibility.of(spec.profile);
        ArtefactStore::key(&spec.module_digest, compatibility)
    }

    /// The artefact of a spec's module, compiled if there is none.
    pub(crate) async fn artefact(self: &Arc<Self>, spec: &RunSpec) -> Result<Artefact, End> {
        let key = self.key(spec);
        if let Some(artefact) = self.store.get_known(&key) {
            return Ok(artefact);
        }
        let lock = self.store.lock(&key);
        let _one_at_a_time = lock.lock().await;
        // Whoever waited for the lock finds it here.
        if let Some(artefact) = self.store.get_known(&key) {
            return Ok(artefact);
        }
        let (this, wanted) = (Arc::clone(self), key.clone());
        let verified = tokio::task::spawn_blocking(move || this.store.verify(&wanted)).await;
        if let Ok(Some(artefact)) = verified {
            return Ok(artefact);
        }
        self.compile(&key, spec).await
    }

    async fn compile(self: &Arc<Self>, key: &str, spec: &RunSpec) -> Result<Artefact, End> {
        let _permit = self.permits.acquire().await.map_err(host_error)?;
        let (path, digest) = (spec.module.clone(), spec.module_digest.clone());
        let opened = tokio::task::spawn_blocking(move || open(path, &digest)).await;
        let module = opened.map_err(host_error)??;
        let artefact = self.store.begin().map_err(host_error)?;
        let writable = artefact.reopen().map_err(host_error)?;
        let info = self
            .compile_in_child(spec.profile, module, writable)
            .await?;
        let (this, key) = (Arc::clone(self), key.to_owned());
        let kept = tokio::task::spawn_blocking(move || this.store.keep(&key, info, artefact)).await;
        kept.map_err(host_error)?.map_err(host_error)
    }

    async fn compile_in_child(
        &self,
        profile: Profile,
        module: File,
        artefact: File,
    ) -> Result<crate::inspect::ModuleInfo, End> {
        let CompileLimits {
            cpu_s,
            wall_ms,
            memory_bytes,
        } = self.limits;
        let mut process = self
            .launcher
            .start(Role::Compile)
            .await
            .map_err(host_error)?;
        let request = Request::Compile(CompileRequest {
            profile,
            cpu_s,
            memory_bytes,
        });
        let files = vec![Handed::Open(module), Handed::Open(artefact)];
        let answer = timeout(Duration::from_millis(wall_ms), async {
            let sent = send_with_files(&mut process.socket, &request, files).await;
            sent.map_err(io::Error::other)?;
            receive_async::<Reply>(&mut process.socket).await
        });
        let answer = answer.await;
        let broken = matches!(answer, Ok(Err(_)));
        let (status, stderr) = process.end(broken).await;
        let memory = || match less_than(memory_bytes) {
            None => limit("compile-memory", memory_bytes),
            Some(why) => host_error(format!("the compiler got no memory: {why}")),
        };
        match answer {
            Ok(Ok(Reply::Compiled(Ok(info)))) => Ok(info),
            Ok(Ok(Reply::Compiled(Err(NotCompiled::Memory)))) => Err(memory()),
            Ok(Ok(Reply::Compiled(Err(NotCompiled::Refused(text))))) => Err(End::Trap {
                kind: TrapKind::Module,
                text,
            }),
            Ok(Ok(reply)) => Err(host_error(reply.unexpected())),
            Ok(Err(_)) if is_signal(status, nix::libc::SIGXCPU) => {
                Err(limit("compile-time", cpu_s.saturating_mul(1_000)))
            }
            Ok(Err(_)) if stderr.contains(ALLOCATION_FAILED) => Err(memory()),
            Ok(Err(error)) => Err(host_error(describe(status, &error, &stderr))),
            // How long it takes by the clock is this machine's affair: it may be slow, or busy.
            Err(_) => Err(host_error(format!(
                "compiling the module took longer than {wall_ms} ms on this machine"
            ))),
        }
    }
}

/// Why a process may get less than `bytes` of memory on this machine, if it may: then that it got none is not the module's fault.
fn less_than(bytes: u64) -> Option<String> {
    let limits = [
        // A compiler reserves address space that it never uses, so that any bound of it may be the one that was met.
        ("RLIMIT_AS", Resource::RLIMIT_AS, RLIM_INFINITY),
        ("RLIMIT_DATA", Resource::RLIMIT_DATA, bytes),
    ];
    for (name, resource, needed) in limits {
        if let Ok((soft, _)) = getrlimit(resource)
            && soft < needed
        {
            return Some(format!("{name} of this process is {soft}"));
        }
    }
    let strict = std::fs::read_to_string(OVERCOMMIT).is_ok_and(|mode| mode.trim() == NEVER);
    strict.then(|| format!("{OVERCOMMIT} is {NEVER}"))
}

fn is_signal(status: Option<ExitStatus>, signal: i32) -> bool {
    status.and_then(|status| status.signal()) == Some(signal)
}

fn limit(limit: &str, value: u64) -> End {
    End::Limit {
        limit: limit.into(),
        value,
    }
}

fn host_error(error: impl std::fmt::Display) -> End {
    End::HostError {
        text: error.to_string(),
    }
}

/// Opens a module and checks that it is the one that was asked for.
fn open(path: PathBuf, digest: &str) -> Result<File, End> {
    let shown = path.display();
    let failed = |error: io::Error| host_error(format!("could not read {shown}: {error}"));
    let mut file = File::open(&path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > MODULE_BYTES_MAX {
        // What an upload would refuse, too: the module's fault.
        return Err(End::Trap {
            kind: TrapKind::Module,
            text: format!("the module is {size} bytes; at most {MODULE_BYTES_MAX} are allowed"),
        });
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    file.rewind().map_err(failed)?;
    let found = hex::encode(hash.finalize());
    if found != digest {
        return Err(host_error(format!(
            "{shown} has the digest {found}, and {digest} was asked for"
        )));
    }
    Ok(file)
}
