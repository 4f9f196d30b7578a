//! What a run is given: [`RunSpec`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Profile;
use crate::limits::{self, Limits, LimitsError};

/// A declared input: a file that the caller keeps unchanged during the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The name that the guest opens it by.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// Its size in bytes, as declared; a file of another size is refused.
    pub size: u64,
}

/// Ids that the executor's spans carry, so that one search finds a task's lines in every process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceIds {
    /// The task.
    pub task: String,
    /// The assignment.
    pub assignment: String,
    /// The node.
    pub node: String,
}

/// One run of one module. Which world's export is called (`run`, `verify` or `equal`) follows from the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The component's bytes.
    pub module: PathBuf,
    /// Their SHA-256, 64 hex digits. The run ends as a host error if the file has another.
    pub module_digest: String,
    /// How the module is compiled.
    #[serde(default)]
    pub profile: Profile,
    /// The task's `params` as JSON text, at most [`limits::PARAMS_BYTES_MAX`].
    pub params: String,
    /// The run's only randomness.
    pub seed: u64,
    /// Declared inputs, at most [`limits::INPUTS_MAX`].
    pub inputs: Vec<Input>,
    /// The checkpoint to resume from.
    pub checkpoint: Option<PathBuf>,
    /// An existing empty folder of this run's own; outputs and checkpoints are written there. The caller removes it.
    pub out_dir: PathBuf,
    /// What the run may use.
    pub limits: Limits,
    /// Whether the task asked for a GPU. Without one every constructor of `compute` answers `unavailable`.
    pub gpu: bool,
    /// The class of the adapter that the run was promised: on another, however good, it is an error of the host. `None`: any.
    #[serde(default)]
    pub gpu_class: Option<String>,
    /// Whose run it is: an opaque tag. Executor processes are reused within one tag only; with none (an empty one) the process
    /// serves this run alone.
    #[serde(default)]
    pub tenant: String,
    /// Ids for logs.
    #[serde(default)]
    pub trace: TraceIds,
}

/// A spec that is refused before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A limit is over its ceiling.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// `params` is too long.
    #[error("params are {0} bytes; at most {max} are allowed", max = limits::PARAMS_BYTES_MAX)]
    Params(usize),
    /// Too many inputs.
    #[error("{0} inputs; at most {max} are allowed", max = limits::INPUTS_MAX)]
    Inputs(usize),
    /// Two inputs have one name.
    #[error("two inputs are named `{0}`")]
    SameName(String),
    /// `module_digest` is not a SHA-256 in lower-case hex.
    #[error("the module's digest is not 64 lower-case hex digits")]
    Digest,
}

impl RunSpec {
    /// Checks everything that can be checked without touching a file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        self.limits.check()?;
        if self.params.len() > limits::PARAMS_BYTES_MAX {
            return Err(SpecError::Params(self.params.len()));
        }
        if self.inputs.len() > limits::INPUTS_MAX {
            return Err(SpecError::Inputs(self.inputs.len()));
        }
        let mut names: Vec<_> = self.inputs.iter().map(|input| &input.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SpecError::SameName(pair[0].clone()));
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.module_digest.len() != 64 || !self.module_digest.bytes().all(hex) {
            return Err(SpecError::Digest);
        }
        Ok(())
    }
}
