//! What can go wrong: before a run ([`AdapterError`]) and in one ([`GpuError`]).

use crate::limits::LimitTooHigh;

/// Longest text of a compiler's or driver's message that is passed on, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Why a call on a session was refused, or why the session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The kernel, or a call, is not valid; the text says where and why. The session goes on.
    #[error("{0}")]
    Validation(String),
    /// The device has no memory left, although the run's own budget has. The session is over.
    #[error("the GPU's memory is used up")]
    OutOfMemory,
    /// A limit of [`crate::GpuLimits`] was passed. After `loop-budget` every later call fails too, because what the kernels
    /// computed is worthless.
    #[error("GPU limit passed: {limit} of {value}")]
    Limit {
        /// Its name, one of [`limit`].
        limit: &'static str,
        /// Its value, in the unit of the field it comes from.
        value: u64,
    },
    /// The GPU did not finish in time. The session is over.
    #[error("the GPU did not finish in time: {limit} of {value_ms} ms")]
    Timeout {
        /// [`limit::TIME`] or [`limit::WAIT`].
        limit: &'static str,
        /// Its value, in milliseconds.
        value_ms: u64,
    },
    /// The device was lost, or failed in a way that the caller did not cause. The session is over.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
}

/// Names of limits, as they stand in errors and outcomes.
pub mod limit {
    /// [`crate::GpuLimits::memory_bytes`].
    pub const MEMORY: &str = "memory";
    /// [`crate::GpuLimits::buffers`].
    pub const BUFFERS: &str = "buffers";
    /// [`crate::GpuLimits::kernels`].
    pub const KERNELS: &str = "kernels";
    /// [`crate::GpuLimits::source_bytes`].
    pub const SOURCE_SIZE: &str = "source-size";
    /// [`crate::kernel::CONSTANTS_MAX`].
    pub const CONSTANTS: &str = "constants";
    /// [`crate::kernel::VALUE_SCALARS_MAX`].
    pub const VALUE: &str = "value";
    /// [`crate::kernel::EXPANDED_STATEMENTS_MAX`].
    pub const CALL_TREE: &str = "call-tree";
    /// [`crate::kernel::depth::OPERATORS_MAX`].
    pub const OPERATORS: &str = "operators";
    /// [`crate::kernel::depth::ELSE_MAX`].
    pub const ELSE: &str = "else";
    /// [`crate::kernel::depth::CALLS_MAX`].
    pub const CALLS: &str = "call-depth";
    /// [`crate::kernel::depth::LOOPS_MAX`].
    pub const LOOPS: &str = "loop-depth";
    /// [`crate::kernel::depth::TYPES_MAX`].
    pub const TYPES: &str = "type-depth";
    /// [`crate::kernel::depth::CASES_MAX`].
    pub const CASES: &str = "cases";
    /// [`crate::GpuLimits::loop_budget`].
    pub const LOOP_BUDGET: &str = "loop-budget";
    /// [`crate::GpuLimits::workgroups_per_dispatch`].
    pub const WORKGROUPS: &str = "workgroups";
    /// Of one dimension of a dispatch: [`crate::DeviceLimits::max_workgroups_per_dimension`].
    pub const WORKGROUPS_PER_DIMENSION: &str = "workgroups-per-dimension";
    /// [`crate::GpuLimits::commands_per_batch`].
    pub const BATCH: &str = "batch";
    /// [`crate::batch::WAITING_COMMANDS_MAX`].
    pub const WAITING: &str = "waiting-commands";
    /// [`crate::GpuLimits::commands`].
    pub const DISPATCHES: &str = "dispatches";
    /// [`crate::GpuLimits::time_ms`].
    pub const TIME: &str = "time";
    /// [`crate::GpuLimits::wait_ms`].
    pub const WAIT: &str = "wait";
}

impl GpuError {
    /// Whether nothing more can be done with the session.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::OutOfMemory | Self::DeviceLost(_) => true,
            Self::Validation(_) | Self::Limit { .. } => false,
        }
    }

    /// Whether the call that was refused is itself to blame. A limit is the run's, and a device without memory or one that failed is the
    /// machine's: whoever gives up for that is not asked what else was wrong.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        match self {
            Self::Validation(_) => true,
            Self::OutOfMemory | Self::Limit { .. } | Self::Timeout { .. } | Self::DeviceLost(_) => {
                false
            }
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Validation(shorten(text.into()))
    }

    pub(crate) fn limit(limit: &'static str, value: impl Into<u64>) -> Self {
        Self::Limit {
            limit,
            value: value.into(),
        }
    }
}

/// Why no adapter could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// Vulkan found no adapter at all.
    #[error(
        "no Vulkan adapter was found; install a GPU driver, or the software one with `cargo xtask setup` \
         (SwiftShader in {swiftshader}, and the Debian package libvulkan1)"
    )]
    None {
        /// Where the software driver is looked for.
        swiftshader: String,
    },
    /// Something was asked for that this build does not know.
    #[error("there is no GPU feature `{name}`; known are: {}", known.join(", "))]
    UnknownFeature {
        /// What was asked for.
        name: String,
        /// What can be.
        known: Vec<&'static str>,
    },
    /// Adapters work, but none has everything that was asked for.
    #[error("no Vulkan adapter has what the task asks for: {}", lacks.join("; "))]
    Lacks {
        /// One sentence for each adapter, with its name and what it lacks.
        lacks: Vec<String>,
    },
    /// Adapters exist, but none works.
    #[error("no usable Vulkan adapter: {}", refusals.join("; "))]
    Refused {
        /// One sentence for each adapter, with its name.
        refusals: Vec<String>,
    },
    /// A requested limit is over what this build allows anybody.
    #[error(transparent)]
    Limit(#[from] LimitTooHigh),
}

/// Cuts a message at [`MESSAGE_BYTES_MAX`], on a character boundary.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text = cut(text, MESSAGE_BYTES_MAX);
        text.push_str(" ...");
    }
    text
}

/// Cuts a text at `bytes_max`, on a character's boundary.
#[must_use]
pub fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_to_blame_for_its_own_mistakes_alone() {
        assert!(GpuError::invalid("a size of 3").is_callers());
        for error in [
            GpuError::OutOfMemory,
            GpuError::DeviceLost("reset".into()),
            GpuError::limit(limit::MEMORY, 1_u64),
        ] {
            assert!(!error.is_callers(), "{error}");
        }
    }
}
