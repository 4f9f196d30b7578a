//! Reading a module without running or compiling it: is it a component, for which world, and what does it want.
//!
//! [`inspect`] runs where modules are uploaded, on bytes from anybody.

use serde::{Deserialize, Serialize};

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Exports `run`: a task.
    Task,
    /// Exports `verify`: judges a result.
    Check,
    /// Exports `equal`: compares two results.
    Comparator,
}

/// A module that this host can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// What it is for.
    pub world: World,
    /// The interfaces it imports, in its order, such as `aevir:task/context@1.0.0`.
    pub imports: Vec<String>,
    /// What it exports, in its order.
    pub exports: Vec<String>,
    /// Bytes.
    pub size: u64,
}
