//! Buffers that were dropped, kept for the next ones of their size.
//!
//! Making a buffer and dropping it costs the host eight microseconds in wgpu and the driver; guests make the same few sizes again and
//! again. A kept buffer is zero again before anybody can have it: its zeroing is recorded at the beginning of the next submission, which is
//! made anyway, and only once that is with the GPU, which works in the order of submissions, is the buffer given out. What nobody ever
//! wrote is zero as it is. Sizes must be equal, so a buffer is never larger than was asked for, and nothing of the memory is lost
//! to rounding. What is kept counts against the run's memory. Why buffers are not cut out of larger ones: `docs/decisions`, 12.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of one kept buffer. Zeroing that many takes a software adapter a hundred times as long as making a buffer.
pub const REUSED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes kept, also from one run to the next, when an idle process holds them.
pub const KEPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Buffers kept; each costs the host a few hundred bytes.
pub const KEPT_BUFFERS_MAX: usize = 256;

/// The kept buffers of one device.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// What is in them is still there.
    stale: Vec<wgpu::Buffer>,
    /// Zero, for everything that is submitted from now on; the one that waits longest first.
    zeroed: VecDeque<wgpu::Buffer>,
    bytes: u64,
}

impl Kept {
    fn len(&self) -> usize {
        self.stale.len() + self.zeroed.len()
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.len() < KEPT_BUFFERS_MAX && self.bytes + bytes <= KEPT_BYTES_MAX
    }

    /// Gives up the oldest until there is room for one more, or none are left; the bytes that were given up.
    fn make_room(&mut self, bytes: u64) -> u64 {
        let mut given_up = 0;
        while !self.has_room(bytes)
            && let Some(oldest) = self.zeroed.pop_front()
        {
            self.bytes -= oldest.size();
            given_up += oldest.size();
        }
        given_up
    }
}

impl Pool {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    /// Takes a buffer that nobody has any more. Answers the bytes that the device gets back instead: those of others, or this one's.
    pub(crate) fn put(&self, buffer: wgpu::Buffer, is_zero: bool) -> u64 {
        let size = buffer.size();
        let mut kept = self.kept();
        if size > REUSED_BYTES_MAX {
            return size;
        }
        let given_up = kept.make_room(size);
        if !kept.has_room(size) {
            return given_up + size;
        }
        kept.bytes += size;
        match is_zero {
            true => kept.zeroed.push_back(buffer),
            false => kept.stale.push(buffer),
        }
        given_up
    }

    /// A zeroed buffer of exactly this size.
    pub(crate) fn take(&self, size: u64) -> Option<wgpu::Buffer> {
        let mut kept = self.kept();
        let found = (kept.zeroed)
            .iter()
            .rposition(|buffer| buffer.size() == size)?;
        let buffer = kept.zeroed.remove(found)?;
        kept.bytes -= size;
        Some(buffer)
    }

    /// Those that are still to be zeroed. They stay counted; [`Self::zeroed`] or [`Self::still_stale`] brings them back.
    pub(crate) fn stale(&self) -> Vec<wgpu::Buffer> {
        std::mem::take(&mut self.kept().stale)
    }

    /// Their zeroing is with the GPU.
    pub(crate) fn zeroed(&self, buffers: Vec<wgpu::Buffer>) {
        self.kept().zeroed.extend(buffers);
    }

    /// Their zeroing came to nothing.
    pub(crate) fn still_stale(&self, buffers: Vec<wgpu::Buffer>) {
        self.kept().stale.extend(buffers);
    }

    /// Gives everything up that is here; answers its bytes.
    pub(crate) fn clear(&self) -> u64 {
        let mut kept = self.kept();
        let (stale, zeroed) = (
            std::mem::take(&mut kept.stale),
            std::mem::take(&mut kept.zeroed),
        );
        let bytes = stale.iter().chain(&zeroed).map(wgpu::Buffer::size).sum();
        kept.bytes -= bytes;
        bytes
    }
}

/// Fills them with zeroes.
pub(crate) fn record_zeroing(encoder: &mut wgpu::CommandEncoder, buffers: &[wgpu::Buffer]) {
    for buffer in buffers {
        encoder.clear_buffer(buffer, 0, None);
    }
}
