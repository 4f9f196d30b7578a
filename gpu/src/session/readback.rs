//! Handing work over, and reading what it left: data, the loop budget's status, and the time it took.

use super::Session;
use crate::buffer::Buffer;
use crate::error::{GpuError, limit};
use crate::pool::record_zeroing;
use crate::timer;
use crate::trace::Entry;

/// Most bytes of one read; the staging buffer grows up to it.
pub const READ_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Bytes before the timestamps in the staging buffer: the status word, padded.
const STATUS_BYTES: u64 = 16;
/// Where the data starts in the staging buffer.
const STAGING_HEAD: u64 = STATUS_BYTES + timer::BYTES;

impl Session {
    /// Waits for the work submitted so far, then reads `len` bytes at `offset`: one submission, one wait.
    ///
    /// # Errors
    /// `Validation` for a range outside of the buffer, not of whole words, or over [`READ_BYTES_MAX`];
    /// `Limit` for `loop-budget` if a kernel submitted before ran out of it; `Timeout`, `DeviceLost`.
    pub fn read(&mut self, buffer: &Buffer, offset: u64, len: u32) -> Result<Vec<u8>, GpuError> {
        self.check_alive()?;
        buffer.check_range("read", offset, len.into())?;
        if len > READ_BYTES_MAX {
            return Err(GpuError::invalid(format!(
                "a read is at most {READ_BYTES_MAX} bytes, and {len} were asked for"
            )));
        }
        let read = self.read_back(Some((buffer, offset, len)));
        let bytes = self.noted(read)?;
        self.usage.bytes_out += u64::from(len);
        let entry = Entry::read(buffer.0.id, offset, len);
        self.trace.push(entry.bytes());
        Ok(bytes)
    }

    /// Hands everything over and waits for it.
    pub(super) fn flush(&mut self) -> Result<(), GpuError> {
        self.read_back(None).map(|_| ())
    }

    /// Hands the held batch over.
    pub(super) fn release(&mut self) -> Result<(), GpuError> {
        match self.held.take() {
            None => Ok(()),
            Some(batch) => {
                let zeroing = std::mem::take(&mut self.zeroing);
                let submitted = self.scoped(|gpu, _| gpu.queue.submit([batch]));
                self.note_zeroing(zeroing, submitted.is_ok());
                submitted?;
                self.note_submission();
                Ok(())
            }
        }
    }

    /// Says of buffers whether their zeroing is with the GPU.
    fn note_zeroing(&mut self, buffers: Vec<wgpu::Buffer>, submitted: bool) {
        match submitted {
            true => self.gpu.pool.zeroed(buffers),
            false => self.gpu.pool.still_stale(buffers),
        }
    }

    /// Drops what is held back, zeroes what is kept for the next run, and waits, whatever the session came to.
    pub(super) fn settle(&mut self) -> Result<(), GpuError> {
        self.held = None;
        self.staging = None;
        let never_zeroed = std::mem::take(&mut self.zeroing);
        self.gpu.pool.still_stale(never_zeroed);
        let stale = self.gpu.pool.stale();
        // Pending writes and dropped buffers go with it.
        let submitted = self.scoped(|gpu, _| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            record_zeroing(&mut encoder, &stale);
            gpu.queue.submit([encoder.finish()])
        });
        self.note_zeroing(stale, submitted.is_ok());
        submitted?;
        self.note_submission();
        self.wait()
    }

    /// Copies a range where one is asked for, the status word where it can have changed, and the timestamps where they are due, in the
    /// submission of the held batch; waits; answers the range's bytes.
    fn read_back(&mut self, range: Option<(&Buffer, u64, u32)>) -> Result<Vec<u8>, GpuError> {
        let len = range.map_or(0, |(_, _, len)| u64::from(len));
        let (looped, timed) = (self.looped, range.is_none() || self.is_time_due());
        let staging = self.staging(STAGING_HEAD + len)?;
        let slice = staging.slice(0..STAGING_HEAD + len);
        // These are taken out while they are lent to the recording.
        let (held, timer) = (self.held.take(), self.timer.take());
        let (mut zeroing, stale) = (std::mem::take(&mut self.zeroing), self.gpu.pool.stale());
        let submitted = self.scoped(|gpu, status| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            record_zeroing(&mut encoder, &stale);
            if looped {
                encoder.copy_buffer_to_buffer(&status.raw, 0, &staging, 0, 4);
            }
            if let Some(timer) = timer.as_ref().filter(|_| timed) {
                timer.copy_to(&mut encoder, &staging, STATUS_BYTES);
            }
            if let Some((buffer, offset, len)) = range
                && len > 0
            {
                encoder.copy_buffer_to_buffer(
                    &buffer.0.raw,
                    offset,
                    &staging,
                    STAGING_HEAD,
                    u64::from(len),
                );
            }
            gpu.queue.submit(held.into_iter().chain([encoder.finish()]));
            slice.map_async(wgpu::MapMode::Read, |_| ());
        });
        self.timer = timer;
        zeroing.extend(stale);
        self.note_zeroing(zeroing, submitted.is_ok());
        submitted?;
        self.note_submission();
        self.wait()?;
        let view = match slice.get_mapped_range() {
            Ok(view) => view,
            Err(error) => {
                return Err(self.end(GpuError::DeviceLost(format!("readback failed: {error}"))));
            }
        };
        let exhausted = looped && view[..4] != [0; 4];
        self.looped = false;
        let stamps = &view[STATUS_BYTES as usize..STAGING_HEAD as usize];
        self.count_time(timed.then_some(stamps));
        let bytes = view[STAGING_HEAD as usize..].to_vec();
        drop(view);
        staging.unmap();
        if exhausted {
            let budget = self.limits.loop_budget;
            return Err(self.end(GpuError::limit(limit::LOOP_BUDGET, budget)));
        }
        self.check_time()?;
        Ok(bytes)
    }

    /// The staging buffer, made anew where the old one is smaller than `size` (at most [`READ_BYTES_MAX`] and the head).
    fn staging(&mut self, size: u64) -> Result<wgpu::Buffer, GpuError> {
        if let Some(staging) = &self.staging
            && staging.size() >= size
        {
            return Ok(staging.clone());
        }
        // Whole steps of data, so that reads of one size, however large, need one buffer.
        let size = STAGING_HEAD + (size - STAGING_HEAD).next_power_of_two();
        let staging = self.scoped(|gpu, _| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: size.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.staging = Some(staging.clone());
        Ok(staging)
    }
}
