//! Runs strangers' WebAssembly components, each in a process of its own, and says exactly how each run ended.
//!
//! - [`Judge`] says of an upload what it is, from a process of its own; [`inspect()`] is what that process reads it with.
//! - [`Executor`] runs a [`RunSpec`] in a child process (started as [`executor_main`]) and answers an [`Outcome`]; while it runs,
//!   it passes on [`RunEvent`]s. Time is bounded by killing the child. Behind it, [`cache`] keeps compiled modules, [`compile`]
//!   makes them in a process of its own, and [`pool`] keeps processes waiting.
//! - A child gives up what it does not need ([`confine`]) before it meets a guest. Inside of it, [`engine`] is the deterministic
//!   profile, and [`host`] is all that a guest can reach: the interfaces of `schemas/wit`.
//!
//! A run without a GPU gives the same bytes and the same fuel on every machine. This crate knows nothing of what tasks cost, who
//! wants them, or HTTP.

pub mod adapt;
mod allocation;
pub mod cache;
mod child;
mod classify;
pub mod compile;
pub mod complexity;
mod composed;
pub mod confine;
pub mod engine;
pub mod executor;
mod folder;
pub mod host;
pub mod inspect;
#[doc(hidden)]
pub mod ipc;
pub mod limited;
mod limiter;
pub mod limits;
mod link;
#[doc(hidden)]
pub mod measure;
pub mod outcome;
mod passing;
pub mod pool;
mod process;
mod run;
mod said;
pub mod spec;
pub mod upload;
mod watch;

pub use adapt::{Upload, prepare_upload};
pub use child::{LOG_VAR, LogFormat, executor_main};
pub use confine::{Applied, Confinement, Role};
pub use engine::Profile;
pub use executor::{Compiled, Executor, ExecutorConfig, ProbeError, Started, Tuning};
pub use folder::Folder;
pub use inspect::{InspectError, ModuleInfo, Refusal, Refused, World, inspect};
pub use limited::CompileLimits;
pub use limits::{Limits, LimitsError};
pub use outcome::{End, Level, MetricValue, Outcome, OutputFile, RunEvent, TrapKind, Usage};
pub use pool::PoolConfig;
pub use spec::{Input, RunSpec, SpecError, TraceIds};
pub use upload::{Accepted, Judge, Judgement, NotTaken};
