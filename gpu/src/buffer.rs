//! Buffers and the account of what a run holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::error::GpuError;
use crate::pool::Pool;

/// What a session's objects hold together. Objects give back what they held when the last handle to them is dropped.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Bytes of live buffers.
    pub bytes: AtomicU64,
    /// Bytes of dropped buffers that the GPU may still be using, until the next time the session has waited for it.
    pub bytes_dropped: AtomicU64,
    /// Live buffers.
    pub buffers: AtomicU32,
    /// Live kernels.
    pub kernels: AtomicU32,
    /// Commands of batches that were not submitted yet.
    pub commands: AtomicU32,
    /// The device's, for buffers that are dropped.
    pub pool: Arc<Pool>,
}

/// A zeroed buffer on the GPU. Handles are cheap to clone.
#[derive(Debug, Clone)]
pub struct Buffer(pub(crate) Arc<BufferInner>);

#[derive(Debug)]
pub(crate) struct BufferInner {
    pub raw: wgpu::Buffer,
    /// The buffer's number in its session, in the order of creation.
    pub id: u64,
    pub size: u64,
    /// Whether anything may have written to it.
    pub touched: AtomicBool,
    pub holdings: Arc<Holdings>,
}

impl Drop for BufferInner {
    fn drop(&mut self) {
        self.holdings.bytes.fetch_sub(self.size, Relaxed);
        let is_zero = !self.touched.load(Relaxed);
        let gone = self.holdings.pool.put(self.raw.clone(), is_zero);
        self.holdings.bytes_dropped.fetch_add(gone, Relaxed);
        self.holdings.buffers.fetch_sub(1, Relaxed);
    }
}

impl Buffer {
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Whether the two handles are of one buffer.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Notes that something is going to write to it.
    pub(crate) fn touch(&self) {
        self.0.touched.store(true, Relaxed);
    }

    /// Checks that `offset..offset + len` lies inside and is made of whole words.
    pub(crate) fn check_range(&self, what: &str, offset: u64, len: u64) -> Result<(), GpuError> {
        if !offset.is_multiple_of(4) || !len.is_multiple_of(4) {
            return Err(GpuError::invalid(format!(
                "{what}: offset {offset} and length {len} must be multiples of 4"
            )));
        }
        if offset.checked_add(len).is_none_or(|end| end > self.0.size) {
            return Err(GpuError::invalid(format!(
                "{what}: {len} bytes at {offset} are outside of a buffer of {}",
                self.0.size
            )));
        }
        Ok(())
    }
}
