//! What the API must know of a module before it takes it; whoever knows WebAssembly injects the answer.

use aevir_platform::command::World;
use async_trait::async_trait;
use bytes::Bytes;

/// Looks into uploaded modules. Must be safe to call with anything.
#[async_trait]
pub trait ModuleInspector: Send + Sync + 'static {
    /// What the module becomes, which world it fits and what it imports. As many are asked at once as the server judges at once.
    async fn inspect(&self, wasm: Bytes) -> Inspection;
}

/// What was found out about a module, and what that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Or why it can't be taken, with a sentence for its author.
    pub verdict: Result<Inspected, InspectError>,
    /// Processor time, in ms.
    pub cpu_ms: u64,
}

/// A module that nodes can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    pub world: World,
    /// Names of the imported interfaces.
    pub imports: Vec<String>,
    /// Memory that a node needs to compile it, in MiB.
    pub compile_mib: u32,
    /// The component that is stored instead of what was uploaded, where that had to be adapted.
    pub adapted: Option<Bytes>,
}

/// Why a module is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    #[error("{0}")]
    NotAComponent(String),
    #[error("{0}")]
    WrongWorld(String),
    #[error("{0}")]
    ForbiddenImport(String),
    #[error("{0}")]
    TooComplex(String),
    /// It took more than there is for judging one module.
    #[error("{0}")]
    TooHeavy(String),
    /// The inspector's compiler breaks on it.
    #[error("{0}")]
    BreaksCompiler(String),
    /// Not the module's fault.
    #[error("{0}")]
    Unavailable(String),
}

impl InspectError {
    /// Whether the same bytes are refused whenever they are judged: what was measured, or broke a compiler whose threads meet in another order
    /// each time, may end otherwise.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NotAComponent(_)
            | Self::WrongWorld(_)
            | Self::ForbiddenImport(_)
            | Self::TooComplex(_) => true,
            Self::TooHeavy(_) | Self::BreaksCompiler(_) | Self::Unavailable(_) => false,
        }
    }
}
