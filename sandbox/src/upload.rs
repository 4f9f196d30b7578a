//! Judging uploads, for whoever takes modules from strangers: in a process of the compiling role, which adapts, validates and compiles within
//! [`CompileLimits::upload`]. The process that takes uploads itself never looks into them.
//!
//! Compiled once here, a module that no node could compile is refused to its author, instead of failing on one node after the other.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use crate::engine::Engines;
use crate::executor::ExecutorConfig;
use crate::inspect::{ModuleInfo, Refusal, Refused};
use crate::ipc::{Judged, Reply, Request};
use crate::limited::{self, CompileLimits, Stopped};
use crate::limits::MODULE_BYTES_MAX;
use crate::passing::Handed;
use crate::process::Launcher;

/// Judges uploads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Judge {
    launcher: Arc<Launcher>,
    limits: CompileLimits,
}

/// An upload that can be stored and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What it is.
    pub info: ModuleInfo,
    /// The component that it was adapted to, where it was none.
    pub adapted: Option<Vec<u8>>,
}

/// Why an upload is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The module's fault.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This machine could not judge it.
    #[error("the module could not be judged: {0}")]
    Machine(String),
}

impl Judge {
    /// Prepares to start `config.program`; its folders go below `config.cache_dir`.
    ///
    /// # Errors
    /// There is no engine for this machine.
    pub fn new(config: &ExecutorConfig, limits: CompileLimits) -> Result<Self, String> {
        let engines = Engines::on_demand();
        let engines = engines.map_err(|e| format!("there is no WebAssembly engine: {e:#}"))?;
        let launcher = Launcher::new(config, engines.compatibility());
        launcher.sweep();
        Ok(Self {
            launcher: Arc::new(launcher),
            limits,
        })
    }

    /// Judges one. Dropping the future ends the process that does it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn judge(
        &self,
        upload: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Accepted, NotTaken> {
        let folder = self.launcher.processes_dir.clone();
        let made = tokio::task::spawn_blocking(move || {
            crate::folder::make_private(&folder)?;
            // Without names: they go with whoever holds them open.
            let mut module = tempfile::tempfile_in(&folder)?;
            module.write_all(upload.as_ref())?;
            module.rewind()?;
            let component = tempfile::tempfile_in(&folder)?;
            Ok((module, component.try_clone()?, component))
        });
        let machine = |error: io::Error| NotTaken::Machine(error.to_string());
        let made = made.await.map_err(|error| machine(error.into()))?;
        let (module, writable, component) = made.map_err(machine)?;
        let files = vec![Handed::Open(module), Handed::Open(writable)];
        let request = Request::Judge(self.limits.bounds());
        match limited::ask(&self.launcher, &request, files, self.limits).await {
            Ok(Reply::Judged(Ok(Judged { info, is_adapted }))) => {
                let adapted = if is_adapted {
                    let read = tokio::task::spawn_blocking(move || read(component));
                    let read = read.await.map_err(|error| machine(error.into()))?;
                    Some(read.map_err(machine)?)
                } else {
                    None
                };
                Ok(Accepted { info, adapted })
            }
            Ok(Reply::Judged(Err(refused))) => Err(refused.into()),
            Ok(reply) => Err(machine(reply.unexpected())),
            Err(Stopped::Cpu { cpu_s }) => Err(too_complex(format!(
                "judging and compiling the module takes more than {cpu_s} s of processor time; make its functions smaller or fewer"
            ))),
            Err(Stopped::Memory { bytes }) => Err(too_complex(format!(
                "judging and compiling the module takes more than {} MiB of memory; make it smaller",
                bytes >> 20
            ))),
            Err(Stopped::Machine(text)) => Err(NotTaken::Machine(text)),
        }
    }
}

fn too_complex(text: String) -> NotTaken {
    let kind = Refusal::TooComplex;
    Refused { kind, text }.into()
}

/// What the process wrote, which may have been taken over: no more than a module may have.
fn read(mut component: File) -> io::Result<Vec<u8>> {
    component.rewind()?;
    let mut bytes = Vec::new();
    component
        .take(MODULE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MODULE_BYTES_MAX {
        return Err(io::Error::other("the adapted component is too large"));
    }
    Ok(bytes)
}
