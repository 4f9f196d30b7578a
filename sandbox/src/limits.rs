//! What one run may use: defaults, and ceilings that no configuration passes.

use aevir_gpu::GpuLimits;
use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Most bytes that one call moves between guest and host. Larger chunks are slower (23 GB/s at 1 MiB, 1.3 GB/s at 64 MiB).
pub const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of a module that is inspected, compiled or run.
pub const MODULE_BYTES_MAX: u64 = 64 * MIB;
/// Most bytes of a task's `params`.
pub const PARAMS_BYTES_MAX: usize = MIB as usize;
/// Most inputs of a run.
pub const INPUTS_MAX: usize = 1_024;
/// Processor time of all threads together that compiling one module may take, in seconds. It is what judges a module: Python with its
/// libraries takes some 30, and no module is taken at upload that needs more than half of this ([`UPLOAD_CPU_S_MAX`]).
pub const COMPILE_CPU_S_MAX: u64 = 240;
/// Real time that compiling one module may take, in milliseconds: it judges the machine, for a module that is compiled on one thread of a
/// core shared by two has spent [`COMPILE_CPU_S_MAX`] by then.
pub const COMPILE_MS_MAX: u64 = 600_000;
/// Memory that compiling one module may take. Python with its libraries takes some 860 MiB, the largest of the hostile corpus (`peak_mib` in
/// its cases) some 900, and no module is taken at upload that needs more than half of this ([`UPLOAD_MEMORY_BYTES_MAX`]).
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 4 * GIB;
/// Processor time that judging an upload may take, in seconds: adapting, validating and compiling it. Half of a node's, so that one that is
/// half as fast still compiles whatever was taken.
pub const UPLOAD_CPU_S_MAX: u64 = COMPILE_CPU_S_MAX / 2;
/// Real time that judging an upload may take, in milliseconds. Whoever waits for the answer is told to come back then.
pub const UPLOAD_MS_MAX: u64 = 150_000;
/// Memory that judging an upload may take: half of a node's, for the same reason, and because it is a server's.
pub const UPLOAD_MEMORY_BYTES_MAX: u64 = COMPILE_MEMORY_BYTES_MAX / 2;
/// The least memory that is kept for compiling a module, in MiB: what a compiler takes for one of a single function, and some more.
pub const COMPILE_MIB_MIN: u32 = 256;
/// What is kept for it is a multiple of this, in MiB, so that two judgements of a module say the same.
pub const COMPILE_MIB_STEP: u32 = 64;
/// Percent of the measured peak that is kept beside it. One measurement holds for ever, and threads do not meet in the same order twice: the
/// largest of a module's peaks was up to a third above the least (of twelve of Python, a fifth), and code for another processor is of another
/// size. Measuring again instead would cost each upload as much as compiling it once more, and find the spread of this machine alone.
pub const COMPILE_MARGIN_PERCENT: u64 = 40;
/// Real time from a request to the start of its run: loading compiled code takes milliseconds, opening a GPU up to seconds.
pub const LOAD_MS_MAX: u64 = 60_000;
/// The stack of a guest, in bytes. A part of the deterministic profile: it decides where a recursion traps.
pub const WASM_STACK_BYTES: usize = 1024 * 1024;

/// Hard ceilings of [`Limits`].
pub mod ceiling {
    use super::{GIB, KIB, MIB};
    /// 10^15 units: weeks of computing.
    pub const FUEL: u64 = 1_000_000_000_000_000;
    /// One day.
    pub const WALL_MS: u64 = 86_400_000;
    /// The whole 32-bit address space of a guest.
    pub const MEMORY_BYTES: u64 = 4 * GIB;
    /// Ten million table elements take 80 MB.
    pub const TABLE_ELEMENTS: u64 = 10_000_000;
    /// Core instances, memories and tables of one component.
    pub const INSTANCES: u32 = 256;
    /// 64 GiB of outputs.
    pub const OUTPUT_BYTES: u64 = 64 * GIB;
    /// Output files; each is a blob and an entry of the result.
    pub const OUTPUTS: u32 = 1_024;
    /// Log lines of a run.
    pub const LOG_LINES: u64 = 1_000_000;
    /// Bytes of one log line or progress note.
    pub const LOG_LINE_BYTES: u32 = 64 * KIB as u32;
    /// Progress reports of a run; more are dropped.
    pub const PROGRESS_EVENTS: u64 = 1_000_000;
    /// Distinct metric names.
    pub const METRIC_NAMES: u32 = 1_024;
    /// Metric reports of a run.
    pub const METRIC_EVENTS: u64 = 10_000_000;
    /// Checkpoints of a run.
    pub const CHECKPOINTS: u32 = 100_000;
    /// Bytes of one checkpoint: one chunk.
    pub const CHECKPOINT_BYTES: u64 = 8 * MIB;
    /// Bytes of all checkpoints of a run: 2,048 of the largest. A platform keeps so much of a task.
    pub const CHECKPOINT_TOTAL_BYTES: u64 = 16 * GIB;
    /// Bytes of the inline result: it is stored in an event, whose entries are at most 65,535 bytes.
    pub const RESULT_BYTES: u32 = 32 * KIB as u32;
    /// Host objects (inputs, outputs, buffers, kernels, batches) alive at once.
    pub const HANDLES: u32 = 65_536;
}

/// What one run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Units of fuel: about one per WebAssembly instruction; host calls have prices (`crate::host::price`).
    pub fuel: u64,
    /// Milliseconds of real time for the run. Compiling and fetching are not part of it.
    pub wall_ms: u64,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Core instances, memories and tables, each.
    pub instances: u32,
    /// Bytes of all outputs together.
    pub output_bytes: u64,
    /// Number of outputs.
    pub outputs: u32,
    /// Log lines that are passed on; the rest is counted and dropped.
    pub log_lines: u64,
    /// Bytes of a log line or progress note; the rest is cut off.
    pub log_line_bytes: u32,
    /// Progress reports that are passed on; the rest is dropped.
    pub progress_events: u64,
    /// Distinct metric names.
    pub metric_names: u32,
    /// Metric reports.
    pub metric_events: u64,
    /// Checkpoints.
    pub checkpoints: u32,
    /// Bytes of one checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes of all checkpoints together: a node keeps the files of the newest alone, but a platform keeps what it is brought.
    pub checkpoint_total_bytes: u64,
    /// Bytes of the inline result.
    pub result_bytes: u32,
    /// Host objects alive at once.
    pub handles: u32,
    /// Limits of the GPU.
    pub gpu: GpuLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000_000,
            wall_ms: 600_000,
            memory_bytes: GIB,
            table_elements: 1_000_000,
            // A Python interpreter with its libraries is a component of some forty.
            instances: 128,
            output_bytes: GIB,
            outputs: 64,
            log_lines: 10_000,
            log_line_bytes: 4 * KIB as u32,
            progress_events: 10_000,
            metric_names: 64,
            metric_events: 100_000,
            checkpoints: 1_000,
            checkpoint_bytes: ceiling::CHECKPOINT_BYTES,
            checkpoint_total_bytes: ceiling::CHECKPOINT_TOTAL_BYTES,
            result_bytes: ceiling::RESULT_BYTES,
            handles: 8_192,
            gpu: GpuLimits::default(),
        }
    }
}

/// A limit was set above its ceiling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A field of [`Limits`].
    #[error("limit `{field}` is {value}; at most {ceiling} is allowed")]
    TooHigh {
        /// The field.
        field: &'static str,
        /// What was asked for.
        value: u64,
        /// What is allowed.
        ceiling: u64,
    },
    /// A field of [`GpuLimits`].
    #[error(transparent)]
    Gpu(#[from] aevir_gpu::LimitTooHigh),
}

impl Limits {
    /// What a task gets by the four limits of its definition; the defaults for the rest. Nodes, audits and local runs grant the same,
    /// so that they see the same outcome.
    #[must_use]
    pub fn for_task(fuel: u64, memory_mib: u32, runtime_s: u32, output_mib: u32) -> Self {
        Self {
            fuel,
            wall_ms: u64::from(runtime_s) * 1_000,
            memory_bytes: u64::from(memory_mib) * MIB,
            output_bytes: u64::from(output_mib) * MIB,
            // Each is removed when a newer one is there, so that their number bounds no more than the messages.
            checkpoints: ceiling::CHECKPOINTS,
            ..Self::default()
        }
    }

    /// The same with what it asks of a GPU: its memory, the largest buffer where that is to be larger than any GPU's, and features by name. GPU
    /// time is bounded by the run's own, for no second of it passes outside of the run.
    #[must_use]
    pub fn with_gpu(
        mut self,
        memory_mib: u32,
        buffer_mib: Option<u32>,
        features: &[String],
    ) -> Self {
        let buffer_bytes = u64::from(buffer_mib.unwrap_or(0)) * MIB;
        self.gpu = GpuLimits {
            memory_bytes: u64::from(memory_mib) * MIB,
            buffer_bytes: buffer_bytes
                .min(aevir_gpu::limits::ceiling::BUFFER_BYTES)
                .max(self.gpu.buffer_bytes),
            time_ms: self.wall_ms,
            features: features.to_vec(),
            ..self.gpu
        };
        self
    }

    /// Checks every field against its ceiling.
    ///
    /// # Errors
    /// Names the first field that is too high.
    pub fn check(&self) -> Result<(), LimitsError> {
        let rows = [
            ("fuel", self.fuel, ceiling::FUEL),
            ("wall_ms", self.wall_ms, ceiling::WALL_MS),
            ("memory_bytes", self.memory_bytes, ceiling::MEMORY_BYTES),
            (
                "table_elements",
                self.table_elements,
                ceiling::TABLE_ELEMENTS,
            ),
            (
                "instances",
                self.instances.into(),
                ceiling::INSTANCES.into(),
            ),
            ("output_bytes", self.output_bytes, ceiling::OUTPUT_BYTES),
            ("outputs", self.outputs.into(), ceiling::OUTPUTS.into()),
            ("log_lines", self.log_lines, ceiling::LOG_LINES),
            (
                "log_line_bytes",
                self.log_line_bytes.into(),
                ceiling::LOG_LINE_BYTES.into(),
            ),
            (
                "progress_events",
                self.progress_events,
                ceiling::PROGRESS_EVENTS,
            ),
            (
                "metric_names",
                self.metric_names.into(),
                ceiling::METRIC_NAMES.into(),
            ),
            ("metric_events", self.metric_events, ceiling::METRIC_EVENTS),
            (
                "checkpoints",
                self.checkpoints.into(),
                ceiling::CHECKPOINTS.into(),
            ),
            (
                "checkpoint_bytes",
                self.checkpoint_bytes,
                ceiling::CHECKPOINT_BYTES,
            ),
            (
                "checkpoint_total_bytes",
                self.checkpoint_total_bytes,
                ceiling::CHECKPOINT_TOTAL_BYTES,
            ),
            (
                "result_bytes",
                self.result_bytes.into(),
                ceiling::RESULT_BYTES.into(),
            ),
            ("handles", self.handles.into(), ceiling::HANDLES.into()),
        ];
        if let Some((field, value, ceiling)) = rows.into_iter().find(|(_, value, max)| value > max)
        {
            return Err(LimitsError::TooHigh {
                field,
                value,
                ceiling,
            });
        }
        Ok(self.gpu.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_the_ceilings() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_gpus_limits_follow_the_task() {
        let two_hours = Limits::for_task(1, 1, 7_200, 1);
        let asked = two_hours
            .clone()
            .with_gpu(2_048, Some(256), &["shader-f16".into()]);
        assert_eq!(asked.gpu.time_ms, 7_200_000);
        assert_eq!(asked.gpu.memory_bytes, 2 * GIB);
        assert_eq!(asked.gpu.buffer_bytes, 256 * MIB);
        assert_eq!(asked.gpu.features, ["shader-f16"]);
        let portable = two_hours.clone().with_gpu(1, Some(1), &[]);
        assert_eq!(portable.gpu.buffer_bytes, GpuLimits::default().buffer_bytes);
        let most = two_hours.with_gpu(u32::MAX, Some(4_096), &[]);
        assert_eq!(most.gpu.buffer_bytes, 4 * GIB - 4, "what WGSL can index");
    }

    #[test]
    fn a_limit_above_its_ceiling_is_named() {
        let limits = Limits {
            outputs: ceiling::OUTPUTS + 1,
            ..Limits::default()
        };
        let text = limits.check().map_err(|error| error.to_string());
        assert_eq!(
            text,
            Err("limit `outputs` is 1025; at most 1024 is allowed".into())
        );
    }
}
