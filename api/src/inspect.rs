//! What the API must know of a module before it takes it; whoever knows WebAssembly injects the answer.

use aevir_platform::command::World;
use async_trait::async_trait;
use bytes::Bytes;

/// Looks into uploaded modules. Must be safe to call with anything.
#[async_trait]
pub trait ModuleInspector: Send + Sync + 'static {
    /// What the module becomes, which world it fits and what it imports.
    ///
    /// # Errors
    /// Why it can't be taken, with a sentence for its author.
    async fn inspect(&self, wasm: Bytes) -> Result<Inspected, InspectError>;
}

/// A module that nodes can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    pub world: World,
    /// Names of the imported interfaces.
    pub imports: Vec<String>,
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
    /// Not the module's fault.
    #[error("{0}")]
    Unavailable(String),
}
