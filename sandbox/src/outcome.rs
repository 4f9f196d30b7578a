//! What a run says while it runs ([`RunEvent`]) and how it ended ([`Outcome`]).

use std::path::PathBuf;

use aevir_gpu::AdapterInfo;
use serde::{Deserialize, Serialize};

/// The root of a trace without entries in hex: what every run without a GPU has.
const EMPTY_TRACE_ROOT: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How a run ended. Only `ok` has outputs that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// The guest returned a result.
    Ok,
    /// The guest returned an error of its own.
    GuestError {
        /// The guest's text, cut at the limit of a result.
        text: String,
    },
    /// The guest trapped.
    Trap {
        /// The class of the trap; the only part that replicas compare.
        kind: TrapKind,
        /// What and where, for a person.
        text: String,
    },
    /// A limit was passed.
    Limit {
        /// The limit: a field of [`crate::Limits`] without its unit (`fuel`, `wall`, `memory`, `outputs`, ...), or a GPU's
        /// (`gpu-` and a name out of `aevir_gpu::error::limit`: `gpu-loop-budget`, `gpu-memory`, `gpu-time`, ...).
        limit: String,
        /// Its value, in the limit's unit.
        value: u64,
    },
    /// The host failed: a bad spec, a missing file, no GPU, a lost device, a dead executor. Not the guest's fault.
    HostError {
        /// What failed.
        text: String,
    },
    /// The caller cancelled the run.
    Cancelled,
}

/// Classes of traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// An `unreachable` instruction: what a panic compiles to.
    Unreachable,
    /// The guest's stack overflowed. Never a reason to slash: depth depends on the compiler.
    StackOverflow,
    /// A load, store or table access out of bounds.
    OutOfBounds,
    /// Division by zero, overflow, or a float that fits no integer.
    Arithmetic,
    /// A call through a null or wrongly typed reference.
    IndirectCall,
    /// A call that the interface forbids: a bad handle, a metric that is not finite, text that is not UTF-8.
    Interface,
    /// The module itself is refused or does not compile.
    Module,
    /// Anything else.
    Other,
}

/// A file that the guest wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The guest's name for it: `[A-Za-z0-9._-]{1,64}`, and neither `.` nor `..`.
    pub name: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, below the spec's `out_dir`.
    pub path: PathBuf,
}

/// The last value that the guest reported of one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricValue {
    /// The metric's name.
    pub name: String,
    /// The step it was reported for.
    pub step: u64,
    /// The value in millionths, rounded half away from zero.
    pub micro: i64,
}

/// What a run used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Fuel. The same on every machine for a run without GPU that returns or exhausts it.
    pub fuel: u64,
    /// Milliseconds from instantiation to return.
    pub wall_ms: u64,
    /// Most bytes of linear memory held at once. The same on every machine.
    pub peak_memory_bytes: u64,
    /// Dispatches handed to the GPU.
    pub gpu_dispatches: u64,
    /// Workgroups of those.
    pub gpu_workgroups: u64,
    /// Bytes written to buffers.
    pub gpu_bytes_in: u64,
    /// Bytes read from buffers.
    pub gpu_bytes_out: u64,
    /// Nanoseconds in which the GPU had work of this run.
    pub gpu_time_ns: u64,
}

/// The end of a run and everything it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The inline result, where `end` is `ok`. A check or a comparator answers `true` or `false`.
    pub result: Option<String>,
    /// Outputs in the order of their names. Empty unless `end` is `ok`.
    pub outputs: Vec<OutputFile>,
    /// The last value of each metric, in the order of the names.
    pub metrics: Vec<MetricValue>,
    /// What was used.
    pub usage: Usage,
    /// Merkle root over the run's GPU commands, 64 hex digits; the empty tree's for a run without.
    pub trace_root: String,
    /// The GPU that was used, if one was.
    pub adapter: Option<AdapterInfo>,
    /// Log lines dropped because of the limit.
    pub log_lines_dropped: u64,
}

impl Outcome {
    /// An outcome of a run that left nothing.
    #[must_use]
    pub fn empty(end: End) -> Self {
        Self {
            end,
            result: None,
            outputs: Vec::new(),
            metrics: Vec::new(),
            usage: Usage::default(),
            trace_root: EMPTY_TRACE_ROOT.to_owned(),
            adapter: None,
            log_lines_dropped: 0,
        }
    }

    /// An outcome of a run that the host failed.
    #[must_use]
    pub fn host_error(text: impl Into<String>) -> Self {
        Self::empty(End::HostError { text: text.into() })
    }
}

/// The level of a guest's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the author of the module.
    Debug,
    /// For the requester.
    Info,
    /// Something is off, and the run goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Something that happened in a run, in order. A caller that reads slowly slows the guest down, nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The module is compiled, and the wall clock starts.
    Started {
        /// The executor's process.
        pid: u32,
    },
    /// A log line.
    Log {
        /// Its level.
        level: Level,
        /// Its text, cut at the limit.
        text: String,
    },
    /// How far the run is.
    Progress {
        /// Parts per million, at most 1,000,000.
        ppm: u32,
        /// A short note.
        note: String,
    },
    /// A reported metric.
    Metric(MetricValue),
    /// A saved checkpoint. Each has a file of its own, and those of the two newest stay. So a caller whose channel holds one event, and who is
    /// done with a file before it takes the next event, finds every file; one that is slower finds the newest.
    Checkpoint {
        /// Where it is.
        path: PathBuf,
        /// SHA-256, 64 hex digits.
        digest: String,
        /// Bytes.
        size: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::EMPTY_TRACE_ROOT;

    #[test]
    fn the_empty_root_is_the_traces() {
        let root = aevir_gpu::trace::Trace::default().root();
        assert_eq!(EMPTY_TRACE_ROOT, hex::encode(root));
    }
}
