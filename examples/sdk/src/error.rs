//! One error type for everything a task calls, so that `?` works throughout.

use crate::bindings::aevir::task::{compute, context};

/// A task's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a task cannot finish. Its text becomes the task's error.
#[derive(Debug)]
pub enum Error {
    /// An input or output call was refused.
    Io(context::IoError),
    /// A GPU call was refused or failed.
    Gpu(compute::Error),
    /// The task's own reason.
    Message(String),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use compute::Error as Gpu;
        use context::IoError as Io;
        match self {
            Self::Io(Io::NotFound(name)) => write!(f, "there is no input or output `{name}`"),
            Self::Io(Io::OutOfRange) => {
                f.write_str("the range is outside the input, or over the chunk limit")
            }
            Self::Io(Io::InvalidName(name)) => {
                write!(f, "`{name}` is taken, or not a valid output name")
            }
            Self::Gpu(Gpu::Validation(text)) => write!(f, "GPU validation: {text}"),
            Self::Gpu(Gpu::OutOfMemory) => f.write_str("the run's GPU memory is used up"),
            Self::Gpu(Gpu::Limit(which)) => write!(f, "over the GPU limit `{which}`"),
            Self::Gpu(Gpu::Timeout) => f.write_str("the run's GPU time is used up"),
            Self::Gpu(Gpu::DeviceLost) => f.write_str("the GPU was lost"),
            Self::Gpu(Gpu::Unavailable) => {
                f.write_str("this run has no GPU: ask for one in the task's `qos`")
            }
            Self::Message(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Error {}

impl From<context::IoError> for Error {
    fn from(error: context::IoError) -> Self {
        Self::Io(error)
    }
}

impl From<compute::Error> for Error {
    fn from(error: compute::Error) -> Self {
        Self::Gpu(error)
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::Message(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self::Message(text.into())
    }
}

/// Returns with a formatted [`Error::Message`] unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::Error::Message(::std::format!($($text)+)));
        }
    };
}
