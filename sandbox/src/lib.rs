//! One run of one WebAssembly component in a process of its own.

pub mod inspect;
pub mod limits;
pub mod outcome;
pub mod spec;

pub use inspect::{ModuleInfo, World};
pub use limits::{Limits, LimitsError};
pub use outcome::{End, Level, MetricValue, Outcome, OutputFile, RunEvent, TrapKind, Usage};
pub use spec::{Input, RunSpec, SpecError, TraceIds};
