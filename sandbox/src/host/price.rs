//! Fuel that host calls cost. A part of each [`crate::engine::Profile`]: the numbers never change within
//! one profile.
//!
//! One unit is about a nanosecond. Without prices a guest could keep the host busy with calls that cost it nothing.

/// Every call.
pub const CALL: u64 = 300;
/// Bytes read for one unit: copied from the page cache or over the GPU's bus.
pub const READ_BYTES_PER_UNIT: u64 = 8;
/// A byte that is written to an output, checkpoint, log or buffer: copied, hashed, stored. Also a byte of a name.
pub const WRITE_BYTE: u64 = 1;
/// A log line, progress report, metric or checkpoint: a message to the parent process.
pub const MESSAGE: u64 = 5_000;
/// Opening an input or making an output.
pub const OPEN: u64 = 20_000;
/// Making a buffer.
pub const BUFFER: u64 = 20_000;
/// Compiling a kernel, for each byte of source.
pub const KERNEL_BYTE: u64 = 1_000;
/// Looking at one more handle, name or constant in a call that takes or walks many.
pub const HANDLE: u64 = 20;
/// A byte of `params` that the host parses for a program.
pub const JSON_BYTE: u64 = 10;
/// A random byte: a 32nd of a SHA-256 block.
pub const RANDOM_BYTE: u64 = 5;
/// A dispatch or copy in a batch.
pub const COMMAND: u64 = 10_000;
