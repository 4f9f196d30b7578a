//! Judging uploads, for whoever takes modules from strangers: in a process of the compiling role, which adapts, validates and compiles within
//! [`CompileLimits::upload`]. The process that takes uploads itself never looks into them.
//!
//! Compiled once here, a module that no node could compile is refused to its author, instead of failing on one node after the other.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::time::Instant;

use crate::engine::Engines;
use crate::executor::ExecutorConfig;
use crate::inspect::{ModuleInfo, Refusal, Refused};
use crate::ipc::{JudgeRequest, Judged, Reply, Request, Took};
use crate::limited::{self, CompileLimits, Stopped};
use crate::limits::{
    COMPILE_MARGIN_PERCENT, COMPILE_MEMORY_BYTES_MAX, COMPILE_MIB_MIN, COMPILE_MIB_STEP,
    MODULE_BYTES_MAX,
};
use crate::passing::Handed;
use crate::process::{COMPILE_THREADS_MAX, Launcher};

const MIB: u64 = 1024 * 1024;

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
    /// Memory that a node needs to compile it, in MiB: the measured peak and a margin; 0 where it was not compiled.
    pub compile_mib: u32,
}

/// A judgement, and what it took.
#[derive(Debug)]
pub struct Judgement {
    /// What the upload is, or why it is not taken.
    pub verdict: Result<Accepted, NotTaken>,
    /// Processor time, in ms. Of a process that did not live to say it, what all its threads can have had by the clock, as far as its bound.
    pub cpu_ms: u64,
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
        let mut launcher = Launcher::new(config, engines.compatibility());
        // However few cores this machine has: a node may have as many, and each thread takes memory.
        launcher.cores = usize::MAX;
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
        self.measured(upload).await.verdict
    }

    /// Says what one is, and adapts it, without compiling it: for whoever is going to run it in any case.
    ///
    /// # Errors
    /// Why an upload of it would not be taken, as far as that is known without compiling it.
    pub async fn adapt(
        &self,
        upload: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Accepted, NotTaken> {
        self.ask(upload, false).await.0
    }

    /// Judges one and says what that took. Dropping the future ends the process that does it.
    pub async fn measured(&self, upload: impl AsRef<[u8]> + Send + 'static) -> Judgement {
        let begun = Instant::now();
        let (verdict, took) = self.ask(upload, true).await;
        let most = self.limits.cpu_s.saturating_mul(1_000);
        let passed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let passed = passed.saturating_mul(COMPILE_THREADS_MAX as u64);
        Judgement {
            verdict,
            cpu_ms: took.map_or(passed, |took| took.cpu_ms).min(most),
        }
    }

    async fn ask(
        &self,
        upload: impl AsRef<[u8]> + Send + 'static,
        compiles: bool,
    ) -> (Result<Accepted, NotTaken>, Option<Took>) {
        let (judged, component, took) = match self.answer(upload, compiles).await {
            Ok(answered) => answered,
            Err(not_taken) => return (Err(not_taken), None),
        };
        let verdict = match (judged, kept(compiles, took)) {
            (Ok(judged), Ok(compile_mib)) => {
                accept(judged, component).await.map(|accepted| Accepted {
                    compile_mib,
                    ..accepted
                })
            }
            (Ok(_), Err(not_measured)) => Err(not_measured),
            (Err(refused), _) => Err(refused.into()),
        };
        (verdict, Some(took))
    }

    /// What the process answers, and the file of the component.
    async fn answer(
        &self,
        upload: impl AsRef<[u8]> + Send + 'static,
        compiles: bool,
    ) -> Result<(Result<Judged, Refused>, File, Took), NotTaken> {
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
        let made = made.await.map_err(|error| machine(error.into()))?;
        let (module, writable, component) = made.map_err(machine)?;
        let files = vec![Handed::Open(module), Handed::Open(writable)];
        let bounds = self.limits.bounds();
        let request = Request::Judge(JudgeRequest { bounds, compiles });
        match limited::ask(&self.launcher, &request, files, self.limits).await {
            Ok(Reply::Judged(judged, took)) => Ok((judged, component, took)),
            Ok(reply) => Err(machine(reply.unexpected())),
            Err(Stopped::Cpu { cpu_s }) => Err(too_heavy(format!(
                "judging and compiling the module takes more than {cpu_s} s of processor time; make its functions smaller or fewer"
            ))),
            Err(Stopped::Memory { bytes }) => Err(too_heavy(format!(
                "judging and compiling the module takes more than {} MiB of memory; make it smaller",
                bytes >> 20
            ))),
            Err(Stopped::Broke { how }) => Err(Refused {
                kind: Refusal::BreaksCompiler,
                text: format!("the compiler breaks on the module: {how}"),
            }
            .into()),
            Err(Stopped::Machine(text)) => Err(NotTaken::Machine(text)),
        }
    }
}

/// Takes the component over.
async fn accept(judged: Judged, component: File) -> Result<Accepted, NotTaken> {
    let Judged { info, is_adapted } = judged;
    let adapted = if is_adapted {
        let read = tokio::task::spawn_blocking(move || read(component));
        let read = read.await.map_err(|error| machine(error.into()))?;
        Some(read.map_err(machine)?)
    } else {
        None
    };
    Ok(Accepted {
        info,
        adapted,
        compile_mib: 0,
    })
}

/// Memory that is kept for compiling what was judged, in MiB. Every run of the module is going to hold it, so that nothing is guessed.
fn kept(compiles: bool, took: Took) -> Result<u32, NotTaken> {
    match (compiles, took.peak_bytes) {
        (false, _) => Ok(0),
        (true, Some(peak_bytes)) => Ok(compile_mib(peak_bytes)),
        (true, None) => Err(NotTaken::Machine(
            "what compiling it takes of memory could not be measured: /proc/self/statm can't be read in the process that judges, or it got no thread"
                .into(),
        )),
    }
}

/// What is kept for compiling a module that was seen to take so much, in MiB.
fn compile_mib(peak_bytes: u64) -> u32 {
    let with_margin = peak_bytes.saturating_add(peak_bytes / 100 * COMPILE_MARGIN_PERCENT);
    let bytes = with_margin.min(COMPILE_MEMORY_BYTES_MAX);
    let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
    mib.max(COMPILE_MIB_MIN).next_multiple_of(COMPILE_MIB_STEP)
}

fn machine(error: io::Error) -> NotTaken {
    NotTaken::Machine(error.to_string())
}

fn too_heavy(text: String) -> NotTaken {
    let kind = Refusal::TooHeavy;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_what_was_not_measured() {
        let took = |peak_bytes| Took {
            cpu_ms: 1,
            peak_bytes,
        };
        assert_eq!(
            kept(true, took(Some(200 * MIB))),
            Ok(compile_mib(200 * MIB))
        );
        assert_eq!(kept(false, took(None)), Ok(0));
        // Whoever brings it may bring it again, and pays for no memory that nobody saw.
        let refused = kept(true, took(None));
        assert!(matches!(&refused, Err(NotTaken::Machine(text)) if text.contains("measured")));
    }

    #[test]
    fn what_is_kept_is_the_peak_with_a_margin_in_steps() {
        assert_eq!(compile_mib(0), COMPILE_MIB_MIN);
        assert_eq!(compile_mib(182 * MIB), 256, "255 with the margin");
        assert_eq!(compile_mib(184 * MIB), 320, "a little over 257");
        assert_eq!(compile_mib(857 * MIB), 1_216, "Python");
        // The least that was seen of a module is enough for the most.
        for least in [200, 857, 1_500] {
            assert!(u64::from(compile_mib(least * MIB)) > least * 4 / 3);
        }
        // Of what a judgement may take, and of more than anybody may have.
        assert_eq!(compile_mib(2_048 * MIB), 2_880);
        assert_eq!(compile_mib(u64::MAX), 4_096);
    }
}
