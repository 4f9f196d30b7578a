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
    /// The run's memory budget, or the device's memory, is used up. The session goes on.
    #[error("GPU memory is used up")]
    OutOfMemory,
    /// A named limit of [`crate::GpuLimits`] was passed. After `loop-budget` every later read fails too, because
    /// what the kernels computed is worthless.
    #[error("GPU limit passed: {0}")]
    Limit(&'static str),
    /// The GPU did not finish in time. The session is over, and the process should end.
    #[error("the GPU did not finish in time")]
    Timeout,
    /// The device was lost, or failed in a way that the caller did not cause. The session is over.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
}

impl GpuError {
    /// Whether nothing more can be done with the session.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Timeout | Self::DeviceLost(_) => true,
            Self::Validation(_) | Self::OutOfMemory | Self::Limit(_) => false,
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Validation(shorten(text.into()))
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
    /// Adapters exist, but each was refused.
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
        let end = (0..=MESSAGE_BYTES_MAX)
            .rev()
            .find(|&i| text.is_char_boundary(i))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
