//! What the API must know of a module before it takes it; whoever knows WebAssembly injects the answer.

use aevir_platform::command::World;
use async_trait::async_trait;
use bytes::Bytes;

/// Looks into uploaded modules. Must be safe to call with anything.
#[async_trait]
pub trait ModuleInspector: Send + Sync + 'static {
    /// Which world the component fits and what it imports.
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
