//! Tells the API what a module is: the sandbox knows, and looks at it in a process of its own.

use std::{collections::BTreeMap, path::Path};

use aevir_api::{InspectError, Inspected, Inspection, ModuleInspector};
use aevir_platform::command::World;
use aevir_sandbox::{
    Accepted, CompileLimits, ExecutorConfig, Judge, Judgement, NotTaken, Refusal, Refused,
};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;

use crate::EXECUTOR;

/// The folder of the processes that judge, in the data folder.
const JUDGES_FOLDER: &str = "judges";

/// Judges modules with the code that will run them.
#[derive(Debug)]
pub(crate) struct SandboxInspector {
    judge: Judge,
}

/// What judges uploads, with its processes' folders below `folder`.
///
/// # Errors
/// This machine can't compile WebAssembly, or this program's own file can't be found.
pub(crate) fn judge(folder: &Path) -> Result<Judge> {
    let program = std::env::current_exe().context("this program's own file can't be found")?;
    let config = ExecutorConfig {
        program,
        args: vec![EXECUTOR.to_owned()],
        cache_dir: folder.join(JUDGES_FOLDER),
        env: BTreeMap::new(),
        log: None,
    };
    Judge::new(&config, CompileLimits::upload()).map_err(anyhow::Error::msg)
}

impl SandboxInspector {
    /// For a server with this data folder.
    ///
    /// # Errors
    /// As for [`judge`].
    pub(crate) fn new(data: &Path) -> Result<Self> {
        Ok(Self {
            judge: judge(data)?,
        })
    }
}

#[async_trait]
impl ModuleInspector for SandboxInspector {
    async fn inspect(&self, wasm: Bytes) -> Inspection {
        let Judgement { verdict, cpu_ms } = self.judge.measured(wasm).await;
        Inspection {
            verdict: verdict.map(inspected).map_err(refusal),
            cpu_ms,
        }
    }
}

fn inspected(accepted: Accepted) -> Inspected {
    let Accepted {
        info,
        adapted,
        compile_mib,
    } = accepted;
    let world = match info.world {
        // A program runs as a task does; what it is called by stands in the component.
        aevir_sandbox::World::Task | aevir_sandbox::World::Program => World::Task,
        aevir_sandbox::World::Check => World::Check,
        aevir_sandbox::World::Comparator => World::Comparator,
    };
    Inspected {
        world,
        imports: info.imports,
        compile_mib,
        adapted: adapted.map(Bytes::from),
    }
}

fn refusal(not_taken: NotTaken) -> InspectError {
    let Refused { kind, text } = match not_taken {
        NotTaken::Refused(refused) => refused,
        // What exactly is the operator's to read: it may name files.
        NotTaken::Machine(reason) => {
            tracing::error!(reason, "a module could not be judged");
            let text =
                "the server could not judge the module; its operator finds the reason in its log";
            return InspectError::Unavailable(text.into());
        }
    };
    match kind {
        Refusal::NotAComponent => InspectError::NotAComponent(text),
        Refusal::ForbiddenImport => InspectError::ForbiddenImport(text),
        Refusal::WrongWorld => InspectError::WrongWorld(text),
        Refusal::TooComplex => InspectError::TooComplex(text),
        Refusal::TooHeavy => InspectError::TooHeavy(text),
        Refusal::BreaksCompiler => InspectError::BreaksCompiler(text),
    }
}
