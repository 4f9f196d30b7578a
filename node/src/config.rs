//! What an operator sets.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use aevir_sandbox::LogFormat;
use aevir_wire::Secret;

use crate::{fault::Fault, terms::TermsChange};

/// Megabytes on the disk when nothing else is said.
pub const STORAGE_MIB_DEFAULT: u32 = 10 * 1024;
/// How long a stopping node lets its runs go on when nothing else is said.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// Whether to offer the machine's GPU, or the software one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuOffer {
    /// Tasks without GPU only.
    Off,
    /// If there is one that computes right.
    Auto,
    /// Don't start without one.
    Required,
}

/// An agent's settings.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The server's address, such as `http://127.0.0.1:8080`.
    pub server: String,
    /// Key, registration, cache and runs; used by one agent at a time.
    pub data_dir: PathBuf,
    /// The join token; needed at the first start only.
    pub token: Option<Secret>,
    /// 1 to 64 printable characters, for people.
    pub name: String,
    /// Runs at once; 1 to 256.
    pub slots: u32,
    /// Memory for runs, in MiB; most of the machine's when absent ([`crate::offered_memory_mib`]).
    pub memory_mib: Option<u32>,
    /// Room on the disk, in MiB: for runs and sealed results, and what they leave of it for the caches.
    pub storage_mib: u32,
    pub gpu: GpuOffer,
    /// What tasks may ask for, such as `region=eu`.
    pub labels: BTreeMap<String, String>,
    /// What changes, at each start, of the terms that its owner set on the platform.
    pub terms: TermsChange,
    /// How long a stopping node lets its runs go on before it gives them back.
    pub grace: Duration,
    /// The program that executor processes run, and its arguments: see [`aevir_sandbox::executor_main`].
    pub executor: (PathBuf, Vec<String>),
    /// Logs of the executor processes on standard error.
    pub executor_log: Option<LogFormat>,
    /// Misbehaviour, for tests.
    pub fault: Option<Fault>,
}
