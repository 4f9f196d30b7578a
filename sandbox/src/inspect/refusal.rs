//! Why a module is refused, in full, in a word, and as it travels from the process that judged it.

use serde::{Deserialize, Serialize};

use super::World;
use crate::complexity::TooMany;
use crate::host::{COMPUTE, CONTEXT};
use crate::limits::MODULE_BYTES_MAX;

/// Why a module is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Too many bytes.
    #[error("the module is {size} bytes; at most {MODULE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// A core module that is no WASI program.
    #[error(
        "the file is a core WebAssembly module and neither a component nor a WASI preview 1 program (it exports no `_start`); build it for a WASI target, or make it a component with `wasm-component-ld` or `wasm-tools component new`"
    )]
    CoreModule,
    /// A core module that imports something else than WASI preview 1.
    #[error(
        "the core module imports `{0}`, which this host does not provide; a core module may import wasi_snapshot_preview1 alone"
    )]
    ForeignCoreImport(String),
    /// A core module that the encoder does not take.
    #[error("the core module can't be made a component: {0}")]
    NotAdaptable(String),
    /// Not WebAssembly at all.
    #[error("the file is not a WebAssembly component: it does not begin with a component's header")]
    NotWasm,
    /// WebAssembly, but not valid, or with features that are off.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// It wants something that the host does not have.
    #[error("the component imports `{0}`, which this host does not provide; a module may import {context}, {compute} and the interfaces of WASI 0.2 but wasi:http (docs/guests.md says how toolchains leave others away)", context = CONTEXT.name, compute = COMPUTE.name)]
    UnknownImport(String),
    /// It would take too long to compile or too much to instantiate.
    #[error(transparent)]
    TooComplex(#[from] TooMany),
    /// It wants a function that the interface does not have.
    #[error(
        "the component imports `{function}` of {interface}, which that interface does not have"
    )]
    UnknownFunction {
        /// The interface.
        interface: &'static str,
        /// The function or type.
        function: String,
    },
    /// It wants something that the host has with another type.
    #[error("the component imports something with another type than this host's: {0}")]
    WrongImport(String),
    /// Strings pass between its parts, which no fuel pays for.
    #[error(
        "the component passes strings between its parts, which the runtime moves without taking fuel; pass them as `list<u8>`, or link the parts into one core module before it becomes a component"
    )]
    StringsBetweenParts,
    /// A check or comparator wants a GPU.
    #[error("only tasks may import {}; this component exports `{}`", COMPUTE.name, .0.export())]
    ComputeOutsideTask(World),
    /// No known export.
    #[error(
        "the component exports neither `run` (a task), `verify` (a check), `equal` (a comparator) nor `wasi:cli/run` (a WASI program)"
    )]
    NoWorld,
    /// More than one of them.
    #[error("the component exports more than one of `run`, `verify`, `equal` and `wasi:cli/run`")]
    TwoWorlds,
    /// The export has another type.
    #[error("the export `{0}` is not of the type `func() -> {1}`")]
    WrongType(&'static str, &'static str),
}

/// What is wrong with a refused module, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// It is nothing that can be made a component, or not valid.
    NotAComponent,
    /// It fits no world.
    WrongWorld,
    /// It wants what no node offers.
    ForbiddenImport,
    /// It is too large, or takes too much to instantiate, by what is counted in it: so it is whenever it is judged.
    TooComplex,
    /// It took more to judge and compile than there is for that, as measured: another time it may take a little less.
    TooHeavy,
    /// The validator or the compiler breaks on it.
    BreaksCompiler,
}

/// A refusal as it travels from the process that judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{text}")]
pub struct Refused {
    /// In one word.
    pub kind: Refusal,
    /// In a sentence for its author.
    pub text: String,
}

impl InspectError {
    /// In one word.
    #[must_use]
    pub fn kind(&self) -> Refusal {
        match self {
            Self::CoreModule | Self::NotWasm | Self::NotAdaptable(_) | Self::Invalid(_) => {
                Refusal::NotAComponent
            }
            Self::UnknownImport(_)
            | Self::ForeignCoreImport(_)
            | Self::UnknownFunction { .. }
            | Self::WrongImport(_)
            | Self::ComputeOutsideTask(_)
            | Self::StringsBetweenParts => Refusal::ForbiddenImport,
            Self::NoWorld | Self::TwoWorlds | Self::WrongType(..) => Refusal::WrongWorld,
            Self::TooLarge { .. } | Self::TooComplex(_) => Refusal::TooComplex,
        }
    }
}

impl From<InspectError> for Refused {
    fn from(error: InspectError) -> Self {
        Self {
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}
