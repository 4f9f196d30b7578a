//! One run's use of a device: what it makes, what it submits, what it may use.

mod kernels;
mod readback;
mod waiting;

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::adapter::{AdapterInfo, Gpu, ready};
use crate::batch::Batch;
use crate::buffer::{Buffer, BufferInner, Holdings};
use crate::encode::{self, StatusWord};
use crate::error::{GpuError, limit, shorten};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::meter::Usage;
use crate::timer::Timer;
use crate::trace::{Entry, Hash, Trace};
use waiting::Clock;

pub use readback::READ_BYTES_MAX;

/// Writes wait in host memory until the next submission; above this they are submitted and waited for.
const PENDING_WRITE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Writes and new buffers between two waits: each costs the host about a kilobyte of its own until then, however small it is.
const PENDING_CALLS_MAX: u32 = 1_024;
/// Submissions that are not waited for. Each holds host memory until it is done.
const IN_FLIGHT_MAX: u32 = 64;
/// Commands of submissions that are not waited for, but for those of the newest: each holds about a kilobyte for its bindings.
const IN_FLIGHT_COMMANDS_MAX: u64 = 16_384;

/// One run's buffers, kernels, budget and meter.
///
/// Short work goes to the GPU late: the newest batch is held back until the next call, so that a read that follows it, as most do,
/// travels in the same submission. Nothing that a caller can see depends on it.
#[derive(Debug)]
pub struct Session {
    /// Leaked while it is at work: dropping a device waits for it, which can be for ever. Its process is about to end.
    gpu: ManuallyDrop<Gpu>,
    limits: GpuLimits,
    holdings: Arc<Holdings>,
    status: StatusWord,
    timer: Option<Timer>,
    staging: Option<wgpu::Buffer>,
    /// The newest batch, recorded and not yet handed over.
    held: Option<wgpu::CommandBuffer>,
    /// Buffers that it zeroes for the pool.
    zeroing: Vec<wgpu::Buffer>,
    buffers_made: u64,
    buffers_reused: u64,
    commands: u64,
    pending_write_bytes: u64,
    pending_calls: u32,
    in_flight: u32,
    in_flight_commands: u64,
    clock: Clock,
    /// Whether kernels with loops were submitted since the loop budget's status was last read.
    looped: bool,
    usage: Usage,
    trace: Trace,
    /// The error that ended the session, or that makes all its results worthless.
    ended: Option<GpuError>,
    /// What refused the last call, if it was not the call itself.
    refused: Option<GpuError>,
    hung: bool,
}

impl Session {
    /// Starts a session on a device that no other session uses. `limits` are the ones the device was opened with.
    #[must_use]
    pub fn new(gpu: Gpu, limits: GpuLimits) -> Self {
        Self {
            status: StatusWord::new(&gpu.device, &gpu.status_layout),
            timer: gpu.times.then(|| Timer::new(&gpu.device, &gpu.queue)),
            holdings: Arc::new(Holdings {
                pool: Arc::clone(&gpu.pool),
                ..Holdings::default()
            }),
            gpu: ManuallyDrop::new(gpu),
            limits,
            staging: None,
            held: None,
            zeroing: Vec::new(),
            buffers_made: 0,
            buffers_reused: 0,
            commands: 0,
            pending_write_bytes: 0,
            pending_calls: 0,
            in_flight: 0,
            in_flight_commands: 0,
            clock: Clock::default(),
            looped: false,
            usage: Usage::default(),
            trace: Trace::default(),
            ended: None,
            refused: None,
            hung: false,
        }
    }

    /// Who computes.
    #[must_use]
    pub fn adapter(&self) -> &AdapterInfo {
        self.gpu.info()
    }

    /// What kernels may count on.
    #[must_use]
    pub fn device_limits(&self) -> &DeviceLimits {
        &self.gpu.device_limits
    }

    /// What the run may use.
    #[must_use]
    pub fn limits(&self) -> &GpuLimits {
        &self.limits
    }

    /// What was granted beyond the portable defaults, by name.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        self.gpu.features.iter().map(|feature| feature.name)
    }

    /// What was used so far. Of the last few milliseconds of GPU time only an upper bound is known until [`Session::finish`].
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            time_ns: self.usage.time_ns.saturating_add(self.clock.unread_ns()),
            ..self.usage
        }
    }

    /// The Merkle root over the commands submitted, the writes and the reads so far.
    #[must_use]
    pub fn trace_root(&self) -> Hash {
        self.trace.root()
    }

    /// Makes a zeroed buffer of `size` bytes, usable as storage and uniform.
    ///
    /// # Errors
    /// `Validation` for a size that is 0, no multiple of 4, or over the limit of one buffer; `Limit` for `memory` and
    /// `buffers`; `OutOfMemory` where the device has less than the run's budget.
    pub fn create_buffer(&mut self, size: u64) -> Result<Buffer, GpuError> {
        let made = self.make_buffer(size);
        self.noted(made)
    }

    /// Writes `bytes` at `offset`; takes effect before every batch submitted later.
    ///
    /// # Errors
    /// `Validation` for a range outside of the buffer or not of whole words.
    pub fn write(&mut self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        let written = self.take_write(buffer, offset, bytes);
        self.noted(written)
    }

    fn take_write(&mut self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        self.check_alive()?;
        let len = bytes.len() as u64;
        buffer.check_range("write", offset, len)?;
        if bytes.is_empty() {
            return Ok(());
        }
        // wgpu puts writes before everything that is submitted after them, which the held batch would be.
        self.release()?;
        if self.pending_write_bytes.saturating_add(len) > PENDING_WRITE_BYTES_MAX {
            self.flush()?;
        }
        self.count_call()?;
        buffer.touch();
        self.scoped(|gpu, _| gpu.queue.write_buffer(&buffer.0.raw, offset, bytes))?;
        self.pending_write_bytes += len;
        self.usage.bytes_in += len;
        let entry = Entry::write(buffer.0.id, offset, bytes);
        self.trace.push(entry.bytes());
        Ok(())
    }

    /// An empty batch.
    #[must_use]
    pub fn create_batch(&self) -> Batch {
        Batch {
            commands: Vec::new(),
            commands_max: self.limits.commands_per_batch,
            workgroups_max: self.limits.workgroups_per_dispatch,
            dimension_max: self.gpu.device_limits.max_workgroups_per_dimension,
            holdings: Arc::clone(&self.holdings),
        }
    }

    /// Hands a batch to the GPU and does not wait; a used-up loop budget shows at the next [`Session::read`] or at
    /// [`Session::finish`].
    ///
    /// # Errors
    /// `Validation` if wgpu refuses the commands (one buffer bound twice, once writable), `Limit` for `dispatches`.
    pub fn submit(&mut self, batch: Batch) -> Result<(), GpuError> {
        let submitted = self.hold(batch);
        self.noted(submitted)
    }

    /// Waits for everything and says whether the run's results count.
    ///
    /// # Errors
    /// `Limit` for `loop-budget`, `Timeout`, `DeviceLost`; also those of earlier calls, in case they were ignored.
    pub fn finish(&mut self) -> Result<(), GpuError> {
        self.check_alive()?;
        self.flush()
    }

    /// The error that ended the session, or that makes its results worthless, if there was one.
    #[must_use]
    pub fn ended(&self) -> Option<&GpuError> {
        self.ended.as_ref()
    }

    /// What refused the last call that could be refused, where it was a limit or the machine, and not the call's own mistake. A run that fails
    /// right after it fails because of it.
    #[must_use]
    pub fn refused(&self) -> Option<&GpuError> {
        self.refused.as_ref()
    }

    /// Remembers what refused something outside of the session, such as a [`Batch`]'s limit; forgets the last one otherwise.
    pub fn note<T>(&mut self, result: &Result<T, GpuError>) {
        self.refused = match result {
            Err(error) if !error.is_callers() => Some(error.clone()),
            Ok(_) | Err(_) => None,
        };
    }

    /// Ends the session and gives the device back for another run of the same requester, if it is in a state to be used:
    /// nothing of this session is left on it. Drop all buffers, kernels and batches before.
    #[must_use]
    pub fn into_gpu(mut self) -> Option<Gpu> {
        let idle = match &self.ended {
            // The kernels have returned, only too early.
            None | Some(GpuError::Limit { .. }) => true,
            Some(_) => false,
        };
        let usable = idle && !self.is_busy() && self.settle().is_ok() && self.gpu.is_healthy();
        usable.then(|| Gpu::clone(&self.gpu))
    }

    /// How many of the session's buffers are made of the memory of earlier ones.
    #[must_use]
    pub fn reused_buffers(&self) -> u64 {
        self.buffers_reused
    }

    /// Bytes of dropped buffers that are kept for later ones, in this run and the next.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.gpu.pool.bytes()
    }

    /// Bytes that the device's allocator holds: of all buffers, and of the blocks that it cuts them out of.
    #[must_use]
    pub fn allocated_bytes(&self) -> (u64, u64) {
        let report = self.gpu.device.generate_allocator_report();
        report.map_or((0, 0), |report| {
            (report.total_allocated_bytes, report.total_reserved_bytes)
        })
    }

    /// How many kernels the device has compiled so far and kept.
    #[must_use]
    pub fn cached_kernels(&self) -> usize {
        self.gpu.kernels.len()
    }

    /// Destroys the device, as a driver's reset would: for tests of what comes after.
    #[doc(hidden)]
    pub fn lose_device(&mut self) {
        self.gpu.device.destroy();
    }

    fn make_buffer(&mut self, size: u64) -> Result<Buffer, GpuError> {
        self.check_alive()?;
        let most = self.gpu.device_limits.max_buffer_size;
        if size == 0 || !size.is_multiple_of(4) || size > most {
            return Err(GpuError::invalid(format!(
                "a buffer's size must be a multiple of 4 from 4 to {most}, and {size} is not"
            )));
        }
        if self.holdings.buffers.load(Relaxed) >= self.limits.buffers {
            return Err(GpuError::limit(limit::BUFFERS, self.limits.buffers));
        }
        let live = self.holdings.bytes.load(Relaxed).saturating_add(size);
        if live > self.limits.memory_bytes {
            return Err(GpuError::limit(limit::MEMORY, self.limits.memory_bytes));
        }
        let raw = match self.gpu.pool.take(size) {
            Some(kept) => {
                self.buffers_reused += 1;
                kept
            }
            None => {
                self.make_room(live)?;
                self.new_buffer(size)?
            }
        };
        self.holdings.bytes.fetch_add(size, Relaxed);
        self.holdings.buffers.fetch_add(1, Relaxed);
        let id = self.buffers_made;
        self.buffers_made += 1;
        Ok(Buffer(Arc::new(BufferInner {
            raw,
            id,
            size,
            touched: AtomicBool::new(false),
            holdings: Arc::clone(&self.holdings),
        })))
    }

    /// Has the device give back what was dropped, where the run would otherwise hold more than it may.
    fn make_room(&mut self, live: u64) -> Result<(), GpuError> {
        let dropped = self.holdings.bytes_dropped.load(Relaxed);
        let held = live.saturating_add(dropped);
        if held.saturating_add(self.gpu.pool.bytes()) <= self.limits.memory_bytes {
            return Ok(());
        }
        // What the newest batch zeroes is the pool's again once that is handed over.
        self.release()?;
        self.empty_pool();
        // What was dropped may still be in use; wait until it is not.
        self.flush()
    }

    /// Gives up what is kept for later buffers.
    fn empty_pool(&mut self) {
        let bytes = self.gpu.pool.clear();
        self.holdings.bytes_dropped.fetch_add(bytes, Relaxed);
    }

    /// Makes a buffer; where the device has no memory for it, once more without what is kept.
    fn new_buffer(&mut self, size: u64) -> Result<wgpu::Buffer, GpuError> {
        self.count_call()?;
        let make = |gpu: &Gpu, _: &StatusWord| encode::buffer(&gpu.device, size);
        match self.tried(make) {
            Err(GpuError::OutOfMemory) if self.gpu.pool.bytes() > 0 => {
                self.empty_pool();
                self.flush()?;
                self.scoped(make)
            }
            made => self.stands(made),
        }
    }

    /// Waits for what the host keeps of earlier calls, where it adds up.
    fn count_call(&mut self) -> Result<(), GpuError> {
        if self.pending_calls >= PENDING_CALLS_MAX {
            self.flush()?;
        }
        self.pending_calls += 1;
        Ok(())
    }

    /// Records a batch, hands over the one before it, and keeps this one back, unless it is likely to take long.
    fn hold(&mut self, batch: Batch) -> Result<(), GpuError> {
        self.check_alive()?;
        let commands = self.commands.saturating_add(batch.commands.len() as u64);
        if commands > self.limits.commands {
            return Err(GpuError::limit(limit::DISPATCHES, self.limits.commands));
        }
        let full = self.timer.as_ref().is_some_and(|timer| !timer.has_room());
        let many = self.in_flight_commands >= IN_FLIGHT_COMMANDS_MAX;
        if full || many || self.in_flight >= IN_FLIGHT_MAX {
            self.flush()?;
        }
        self.in_flight_commands += batch.commands.len() as u64;
        // Both are taken out while they are lent to the recording.
        let (timer, stale) = (self.timer.take(), self.gpu.pool.stale());
        let recorded = self.scoped(|gpu, status| {
            encode::batch(gpu, &batch, &status.group, timer.as_ref(), &stale).finish()
        });
        self.timer = timer;
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                self.gpu.pool.still_stale(stale);
                return Err(error);
            }
        };
        if let Some(timer) = &mut self.timer {
            timer.count();
        }
        self.commands = commands;
        self.looped |= batch.has_loops();
        self.usage.count(&batch, &mut self.trace);
        let released = self.release();
        if released.is_err() {
            self.gpu.pool.still_stale(stale);
            return released;
        }
        (self.held, self.zeroing) = (Some(recorded), stale);
        match self.is_long() {
            true => self.release(),
            false => Ok(()),
        }
    }

    /// Whether the GPU may still be at work, or is known to hang.
    fn is_busy(&self) -> bool {
        self.hung || self.in_flight > 0
    }

    fn check_alive(&self) -> Result<(), GpuError> {
        match &self.ended {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn end(&mut self, error: GpuError) -> GpuError {
        self.ended.get_or_insert(error).clone()
    }

    fn noted<T>(&mut self, result: Result<T, GpuError>) -> Result<T, GpuError> {
        self.note(&result);
        result
    }

    fn check_faults(&mut self) -> Result<(), GpuError> {
        match self.gpu.faults.get() {
            Some(text) => Err(self.end(GpuError::DeviceLost(text))),
            None => Ok(()),
        }
    }

    /// Runs `work` with scopes for every kind of error around it. What the device lacks or gets wrong ends the session: it must not become
    /// an answer that a guest computes with, for another device of the class would answer otherwise.
    fn scoped<T>(&mut self, work: impl FnOnce(&Gpu, &StatusWord) -> T) -> Result<T, GpuError> {
        let tried = self.tried(work);
        self.stands(tried)
    }

    /// The session is over where the device was out of memory.
    fn stands<T>(&mut self, tried: Result<T, GpuError>) -> Result<T, GpuError> {
        tried.map_err(|error| match error {
            GpuError::OutOfMemory => self.end(error),
            other => other,
        })
    }

    /// The same, where a device without memory can be asked again.
    fn tried<T>(&mut self, work: impl FnOnce(&Gpu, &StatusWord) -> T) -> Result<T, GpuError> {
        let device = &self.gpu.device;
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work(&self.gpu, &self.status);
        // Inner scopes first.
        let errors = [
            ready(validation.pop()),
            ready(memory.pop()),
            ready(internal.pop()),
        ];
        let error = errors.into_iter().flatten().flatten().next();
        if error.is_some() {
            // A lost device shows as invalid objects; that it is lost is said when it is polled.
            let _ = self.gpu.device.poll(wgpu::PollType::Poll);
        }
        self.check_faults()?;
        match error {
            None => Ok(value),
            Some(wgpu::Error::Validation { description, .. }) => {
                Err(GpuError::invalid(description))
            }
            Some(wgpu::Error::OutOfMemory { .. }) => Err(GpuError::OutOfMemory),
            Some(wgpu::Error::Internal { description, .. }) => {
                Err(self.end(GpuError::DeviceLost(shorten(description))))
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_busy() {
            let never_zeroed = std::mem::take(&mut self.zeroing);
            self.gpu.pool.still_stale(never_zeroed);
            // SAFETY: the field is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.gpu) }
        }
    }
}
