//! Fuel that host calls cost. A part of the deterministic profile [`crate::engine::PROFILE`]: the numbers never change within
//! one profile.
//!
//! One unit is about a nanosecond. Without prices a guest could keep the host busy with calls that cost it nothing.

/// Every call.
pub const CALL: u64 = 300;
/// Bytes read for one unit: copied from the page cache or over the GPU's bus.
pub const READ_BYTES_PER_UNIT: u64 = 8;
/// A byte that is written to an output, checkpoint, log or buffer: copied, hashed, stored.
pub const WRITE_BYTE: u64 = 1;
/// A log line, progress report, metric or checkpoint: a message to the parent process.
pub const MESSAGE: u64 = 5_000;
/// Opening an input or making an output.
pub const OPEN: u64 = 20_000;
/// Making a buffer.
pub const BUFFER: u64 = 20_000;
/// Compiling a kernel, for each byte of source.
pub const KERNEL_BYTE: u64 = 1_000;
/// A dispatch or copy in a batch.
pub const COMMAND: u64 = 10_000;
