//! Compiling a module in a process of its own, once, whoever asks at the same time.
//!
//! Who holds the memory and a core for it (a node's lease does, until its run starts) waits for nobody: how many are compiled at once is bounded
//! by what the machine has for them, and who holds much of that is whoever was given it. All others take turns: each requester has one module
//! compiled at a time, and those who wait are served in their order, so that one who brings many modules, or slow ones, keeps nobody else waiting
//! for more than the ones that are being compiled. What one compilation may take, and whose fault it is when it takes more, is
//! [`crate::limited`]'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::cache::{Artefact, ArtefactStore};
use crate::engine::Profile;
use crate::ipc::{CompileRequest, Reply, Request};
use crate::limited::{self, CompileLimits, Stopped};
use crate::limits::MODULE_BYTES_MAX;
use crate::outcome::{End, TrapKind};
use crate::passing::Handed;
use crate::process::Launcher;
use crate::spec::RunSpec;

/// Modules compiled at the same time for those who hold nothing; each may take [`crate::limits::COMPILE_MEMORY_BYTES_MAX`] of memory and several cores.
pub const COMPILES_MAX: usize = 2;

/// Compiles into a store.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) store: ArtefactStore,
    limits: CompileLimits,
    permits: Semaphore,
    turns: Turns,
}

/// Whose module is being compiled, or waits for it: one of each requester's.
#[derive(Debug, Default)]
struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The lock that a requester holds while one of its modules waits and is compiled.
    fn of(&self, tenant: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for those that only the map holds.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(tenant.to_owned()).or_default())
    }
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
            turns: Turns::default(),
        }
    }

    /// The key of a spec's module.
    pub(crate) fn key(&self, spec: &RunSpec) -> String {
        let compatibility = self.launcher.compatibility.of(spec.profile);
        ArtefactStore::key(&spec.module_digest, compatibility)
    }

    /// The artefact of a spec's module, if there is one.
    pub(crate) async fn found(self: &Arc<Self>, spec: &RunSpec) -> Option<Artefact> {
        let artefact = self.kept(&self.key(spec)).await?;
        self.store.claim(&self.key(spec), &spec.tenant);
        Some(artefact)
    }

    /// The artefact of a spec's module, compiled when it is the requester's turn if there is none.
    pub(crate) async fn in_turn(self: &Arc<Self>, spec: &RunSpec) -> Result<Artefact, End> {
        if let Some(artefact) = self.found_by_now(spec).await {
            return Ok(artefact);
        }
        // Both before the module's lock: one requester's queue is not to hold up another's run of the same module.
        let turn = self.turns.of(&spec.tenant);
        let _own_turn = turn.lock().await;
        let _permit = self.permits.acquire().await.map_err(host_error)?;
        self.found_or_made(spec, self.limits.memory_bytes).await
    }

    /// The artefact of a spec's module, compiled at once if there is none, with so many bytes of memory that the caller holds for it beside a
    /// core. That they were not enough is the module's limit, and no failure of this machine.
    pub(crate) async fn in_room(
        self: &Arc<Self>,
        spec: &RunSpec,
        memory_bytes: u64,
    ) -> Result<Artefact, End> {
        self.found_or_made(spec, memory_bytes).await
    }

    /// The artefact, if there is one when whoever makes it at the moment is done.
    async fn found_by_now(self: &Arc<Self>, spec: &RunSpec) -> Option<Artefact> {
        if let Some(artefact) = self.store.get_known(&self.key(spec)) {
            self.store.claim(&self.key(spec), &spec.tenant);
            return Some(artefact);
        }
        let lock = self.store.lock(&self.key(spec));
        let _looking = lock.lock().await;
        self.found(spec).await
    }

    async fn found_or_made(
        self: &Arc<Self>,
        spec: &RunSpec,
        memory_bytes: u64,
    ) -> Result<Artefact, End> {
        let key = self.key(spec);
        let lock = self.store.lock(&key);
        let _one_at_a_time = lock.lock().await;
        // Whoever waited finds it here.
        if let Some(artefact) = self.found(spec).await {
            return Ok(artefact);
        }
        self.compile(&key, spec, memory_bytes).await
    }

    /// The artefact, if there is one that is sound.
    async fn kept(self: &Arc<Self>, key: &str) -> Option<Artefact> {
        if let Some(artefact) = self.store.get_known(key) {
            return Some(artefact);
        }
        let (this, wanted) = (Arc::clone(self), key.to_owned());
        let verified = tokio::task::spawn_blocking(move || this.store.verify(&wanted)).await;
        verified.ok().flatten()
    }

    async fn compile(
        self: &Arc<Self>,
        key: &str,
        spec: &RunSpec,
        memory_bytes: u64,
    ) -> Result<Artefact, End> {
        let (path, digest) = (spec.module.clone(), spec.module_digest.clone());
        let opened = tokio::task::spawn_blocking(move || open(path, &digest)).await;
        let module = opened.map_err(host_error)??;
        let artefact = self.store.begin().map_err(host_error)?;
        let writable = artefact.reopen().map_err(host_error)?;
        let info = self
            .compile_in_child(spec.profile, module, writable, memory_bytes)
            .await?;
        let (this, key, owner) = (Arc::clone(self), key.to_owned(), spec.tenant.clone());
        let keep = move || this.store.keep((&key, &owner), info, artefact);
        let kept = tokio::task::spawn_blocking(keep).await;
        kept.map_err(host_error)?.map_err(host_error)
    }

    async fn compile_in_child(
        &self,
        profile: Profile,
        module: File,
        artefact: File,
        memory_bytes: u64,
    ) -> Result<crate::inspect::ModuleInfo, End> {
        let limits = CompileLimits {
            memory_bytes: self.limits.memory_bytes.min(memory_bytes),
            ..self.limits
        };
        let request = Request::Compile(CompileRequest {
            profile,
            bounds: limits.bounds(),
        });
        let files = vec![Handed::Open(module), Handed::Open(artefact)];
        match limited::ask(&self.launcher, &request, files, limits).await {
            Ok(Reply::Compiled(Ok(info))) => Ok(info),
            Ok(Reply::Compiled(Err(refused))) => Err(End::Trap {
                kind: TrapKind::Module,
                text: refused.text,
            }),
            Ok(reply) => Err(host_error(reply.unexpected())),
            Err(Stopped::Cpu { cpu_s }) => Err(limit("compile-time", cpu_s.saturating_mul(1_000))),
            // However little that is: it is what whoever judged the module says that it needs.
            Err(Stopped::Memory { bytes }) => Err(limit("compile-memory", bytes)),
            Err(Stopped::Broke { how }) => Err(End::Trap {
                kind: TrapKind::Module,
                text: format!("the compiler breaks on the module: {how}"),
            }),
            Err(Stopped::Machine(text)) => Err(host_error(format!("compiling the module: {text}"))),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requesters_modules_wait_for_each_other_and_for_nobody_elses() {
        let turns = Turns::default();
        let first = turns.of("a");
        let compiling = first.try_lock();
        assert!(turns.of("a").try_lock().is_err(), "one at a time");
        assert!(turns.of("b").try_lock().is_ok());
        drop(compiling);
        assert!(turns.of("a").try_lock().is_ok());
    }
}
