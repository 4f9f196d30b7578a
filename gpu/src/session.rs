//! One run's use of a device.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::adapter::{AdapterInfo, Gpu, ready};
use crate::batch::Batch;
use crate::buffer::{Buffer, BufferInner, Holdings};
use crate::encode::{self, StatusWord};
use crate::error::{GpuError, shorten};
use crate::kernel::{self, Checked, Constant, Kernel, KernelInner, SlotKind};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::meter::Usage;
use crate::trace::{Hash, Trace};

/// Most bytes of one read; the staging buffer grows up to it.
pub const READ_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Writes wait in host memory until the next submission; above this they are submitted and waited for.
const PENDING_WRITE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Submissions that are not waited for. Each holds host memory until it is done.
const IN_FLIGHT_MAX: u32 = 64;
/// Where the data starts in the staging buffer; the status word is before it.
const STAGING_HEAD: u64 = 16;

/// One run's buffers, kernels, budget and meter.
#[derive(Debug)]
pub struct Session {
    /// Leaked after a time-out: dropping a hung device can hang for ever.
    gpu: ManuallyDrop<Gpu>,
    limits: GpuLimits,
    holdings: Arc<Holdings>,
    status: StatusWord,
    staging: Option<wgpu::Buffer>,
    buffers_made: u64,
    commands: u64,
    pending_write_bytes: u64,
    in_flight: u32,
    busy_since: Option<Instant>,
    usage: Usage,
    trace: Trace,
    /// The error that ended the session, or that makes all its results worthless.
    ended: Option<GpuError>,
}

impl Session {
    /// Starts a session on its own device. `limits` are the ones the device was opened with.
    #[must_use]
    pub fn new(gpu: Gpu, limits: GpuLimits) -> Self {
        let status = StatusWord::new(&gpu.device);
        Self {
            gpu: ManuallyDrop::new(gpu),
            limits,
            holdings: Arc::default(),
            status,
            staging: None,
            buffers_made: 0,
            commands: 0,
            pending_write_bytes: 0,
            in_flight: 0,
            busy_since: None,
            usage: Usage::default(),
            trace: Trace::default(),
            ended: None,
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

    /// The optional features that were granted, by their WebGPU names.
    #[must_use]
    pub fn features(&self) -> &[&'static str] {
        &self.gpu.features
    }

    /// What was used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The Merkle root over the commands submitted so far.
    #[must_use]
    pub fn trace_root(&self) -> Hash {
        self.trace.root()
    }

    /// Makes a zeroed buffer of `size` bytes, usable as storage and uniform.
    ///
    /// # Errors
    /// `Validation` for a size that is 0, no multiple of 4, or over the limit of one buffer; `OutOfMemory` over the budget.
    pub fn create_buffer(&mut self, size: u64) -> Result<Buffer, GpuError> {
        self.check_alive()?;
        if size == 0 || !size.is_multiple_of(4) || size > self.limits.buffer_bytes {
            return Err(GpuError::invalid(format!(
                "a buffer's size must be a multiple of 4 from 4 to {}, and {size} is not",
                self.limits.buffer_bytes
            )));
        }
        if self.holdings.buffers.load(Relaxed) >= self.limits.buffers {
            return Err(GpuError::Limit("buffers"));
        }
        let held = |holdings: &Holdings| holdings.bytes.load(Relaxed).saturating_add(size);
        if held(&self.holdings) > self.limits.memory_bytes {
            return Err(GpuError::OutOfMemory);
        }
        let dropped = self.holdings.bytes_dropped.load(Relaxed);
        if held(&self.holdings).saturating_add(dropped) > self.limits.memory_bytes {
            // What was dropped may still be in use; wait until it is not.
            self.flush()?;
        }
        let raw = self.scoped(|gpu, _| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.holdings.bytes.fetch_add(size, Relaxed);
        self.holdings.buffers.fetch_add(1, Relaxed);
        let id = self.buffers_made;
        self.buffers_made += 1;
        Ok(Buffer(Arc::new(BufferInner {
            raw,
            id,
            size,
            holdings: Arc::clone(&self.holdings),
        })))
    }

    /// Writes `bytes` at `offset`; takes effect before every batch submitted later.
    ///
    /// # Errors
    /// `Validation` for a range outside of the buffer or not of whole words.
    pub fn write(&mut self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        self.check_alive()?;
        let len = bytes.len() as u64;
        buffer.check_range("write", offset, len)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if self.pending_write_bytes.saturating_add(len) > PENDING_WRITE_BYTES_MAX {
            self.flush()?;
        }
        self.scoped(|gpu, _| gpu.queue.write_buffer(&buffer.0.raw, offset, bytes))?;
        self.pending_write_bytes += len;
        self.usage.bytes_in += len;
        Ok(())
    }

    /// Waits for the work submitted so far, then reads `len` bytes at `offset`: one submission, one wait.
    ///
    /// # Errors
    /// `Validation` for a range outside of the buffer, not of whole words, or over [`READ_BYTES_MAX`];
    /// `Limit("loop-budget")` if a kernel submitted before ran out of it; `Timeout`, `DeviceLost`.
    pub fn read(&mut self, buffer: &Buffer, offset: u64, len: u32) -> Result<Vec<u8>, GpuError> {
        self.check_alive()?;
        buffer.check_range("read", offset, len.into())?;
        if len > READ_BYTES_MAX {
            return Err(GpuError::invalid(format!(
                "a read is at most {READ_BYTES_MAX} bytes, and {len} were asked for"
            )));
        }
        let bytes = self.read_back(Some((buffer, offset, len)))?;
        self.usage.bytes_out += u64::from(len);
        Ok(bytes)
    }

    /// Compiles one entry point of a WGSL module.
    ///
    /// # Errors
    /// `Validation` with the compiler's message; `Limit` for `source-size`, `constants`, `call-tree` or `kernels`.
    pub fn create_kernel(
        &mut self,
        wgsl: &str,
        entry: &str,
        constants: &[Constant],
    ) -> Result<Kernel, GpuError> {
        self.check_alive()?;
        if self.holdings.kernels.load(Relaxed) >= self.limits.kernels {
            return Err(GpuError::Limit("kernels"));
        }
        let checked = kernel::check(
            wgsl,
            entry,
            constants,
            &self.limits,
            &self.gpu.device_limits,
            &self.gpu.features,
        )?;
        let storage = |slot: &&kernel::Slot| {
            matches!(
                slot.kind,
                SlotKind::StorageRead | SlotKind::StorageReadWrite
            )
        };
        let buffers = checked.slots.iter().filter(storage).count();
        if buffers > self.gpu.device_limits.max_storage_buffers_per_kernel as usize {
            return Err(GpuError::invalid(format!(
                "the kernel binds {buffers} storage buffers; at most {} are allowed",
                self.gpu.device_limits.max_storage_buffers_per_kernel
            )));
        }
        let too_large = checked.slots.iter().any(|slot| {
            slot.kind == SlotKind::Uniform && slot.min_bytes > self.gpu.uniform_bytes_max
        });
        if too_large {
            return Err(GpuError::invalid(format!(
                "a uniform buffer is at most {} bytes",
                self.gpu.uniform_bytes_max
            )));
        }
        let Checked {
            module,
            slots,
            has_loops,
            digest,
        } = checked;
        let built = self.scoped(|gpu, status| {
            let status = has_loops.then_some(&status.layout);
            encode::pipeline(gpu, module, entry, &slots, status)
        });
        let (layout, pipeline) = built.map_err(|error| match error {
            // Without a lost device, a failure inside the driver's compiler is about this kernel.
            GpuError::DeviceLost(text) if self.gpu.faults.get().is_none() => {
                GpuError::Validation(text)
            }
            other => other,
        })?;
        self.holdings.kernels.fetch_add(1, Relaxed);
        Ok(Kernel(Arc::new(KernelInner {
            pipeline,
            layout,
            slots,
            has_loops,
            digest,
            holdings: Arc::clone(&self.holdings),
        })))
    }

    /// An empty batch.
    #[must_use]
    pub fn create_batch(&self) -> Batch {
        Batch {
            commands: Vec::new(),
            commands_max: self.limits.commands_per_batch,
            workgroups_max: self.limits.workgroups_per_dispatch,
            dimension_max: self.gpu.device_limits.max_workgroups_per_dimension,
        }
    }

    /// Hands a batch to the GPU and does not wait; a used-up loop budget shows at the next [`Session::read`] or at
    /// [`Session::finish`].
    ///
    /// # Errors
    /// `Validation` if wgpu refuses the commands (one buffer bound twice, once writable), `Limit("dispatches")`.
    pub fn submit(&mut self, batch: Batch) -> Result<(), GpuError> {
        self.check_alive()?;
        self.commands = self.commands.saturating_add(batch.commands.len() as u64);
        if self.commands > self.limits.commands {
            return Err(GpuError::Limit("dispatches"));
        }
        self.scoped(|gpu, status| {
            let encoder = encode::batch(gpu, &batch, &status.group);
            gpu.queue.submit([encoder.finish()]);
        })?;
        self.usage.count(&batch, &mut self.trace);
        self.note_submission();
        if self.in_flight >= IN_FLIGHT_MAX {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for everything and says whether the run's results count.
    ///
    /// # Errors
    /// `Limit("loop-budget")`, `Timeout`, `DeviceLost`; also those of earlier calls, in case they were ignored.
    pub fn finish(&mut self) -> Result<(), GpuError> {
        self.check_alive()?;
        self.read_back(None).map(|_| ())
    }

    /// The error that ended the session, or that makes its results worthless, if there was one.
    #[must_use]
    pub fn ended(&self) -> Option<&GpuError> {
        self.ended.as_ref()
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

    fn note_submission(&mut self) {
        self.in_flight += 1;
        self.pending_write_bytes = 0;
        self.busy_since.get_or_insert_with(Instant::now);
    }

    /// Submits pending writes and waits for everything.
    fn flush(&mut self) -> Result<(), GpuError> {
        self.scoped(|gpu, _| gpu.queue.submit([]))?;
        self.note_submission();
        self.wait()
    }

    /// Waits for everything submitted.
    fn wait(&mut self) -> Result<(), GpuError> {
        let timeout = Some(Duration::from_millis(self.limits.wait_ms));
        // Buffers dropped up to here are free once the wait is over.
        let dropped = self.holdings.bytes_dropped.load(Relaxed);
        let polled = self.gpu.device.poll(wgpu::PollType::Wait {
            submission_index: None,
            timeout,
        });
        if let Some(since) = self.busy_since.take() {
            let elapsed = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.usage.time_ns = self.usage.time_ns.saturating_add(elapsed);
        }
        match polled {
            Ok(_) => {
                self.holdings.bytes_dropped.fetch_sub(dropped, Relaxed);
                self.in_flight = 0;
                self.check_faults()
            }
            Err(wgpu::PollError::Timeout) => Err(self.end(GpuError::Timeout)),
            Err(error) => Err(self.end(GpuError::DeviceLost(error.to_string()))),
        }
    }

    fn check_faults(&mut self) -> Result<(), GpuError> {
        match self.gpu.faults.get() {
            Some(text) => Err(self.end(GpuError::DeviceLost(text))),
            None => Ok(()),
        }
    }

    /// Copies the status word, and a range where one is asked for, in one submission; waits; answers the range's bytes.
    fn read_back(&mut self, range: Option<(&Buffer, u64, u32)>) -> Result<Vec<u8>, GpuError> {
        let len = range.map_or(0, |(_, _, len)| u64::from(len));
        let staging = self.staging(STAGING_HEAD + len)?;
        let slice = staging.slice(0..STAGING_HEAD + len);
        self.scoped(|gpu, status| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&status.raw, 0, &staging, 0, 4);
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
            gpu.queue.submit([encoder.finish()]);
            slice.map_async(wgpu::MapMode::Read, |_| ());
        })?;
        self.note_submission();
        self.wait()?;
        let view = match slice.get_mapped_range() {
            Ok(view) => view,
            Err(error) => {
                return Err(self.end(GpuError::DeviceLost(format!("readback failed: {error}"))));
            }
        };
        let exhausted = view[..4] != [0; 4];
        let bytes = view[STAGING_HEAD as usize..].to_vec();
        drop(view);
        staging.unmap();
        if exhausted {
            return Err(self.end(GpuError::Limit("loop-budget")));
        }
        Ok(bytes)
    }

    /// The staging buffer, made anew where the old one is smaller than `size` (at most [`READ_BYTES_MAX`] and the head).
    fn staging(&mut self, size: u64) -> Result<wgpu::Buffer, GpuError> {
        if let Some(staging) = &self.staging
            && staging.size() >= size
        {
            return Ok(staging.clone());
        }
        let size = size.next_power_of_two();
        let staging = self.scoped(|gpu, _| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.staging = Some(staging.clone());
        Ok(staging)
    }

    /// Runs `work` with scopes for every kind of error around it.
    fn scoped<T>(&mut self, work: impl FnOnce(&Gpu, &StatusWord) -> T) -> Result<T, GpuError> {
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
        self.check_faults()?;
        match errors.into_iter().flatten().flatten().next() {
            None => Ok(value),
            Some(wgpu::Error::Validation { description, .. }) => {
                Err(GpuError::invalid(description))
            }
            Some(wgpu::Error::OutOfMemory { .. }) => Err(GpuError::OutOfMemory),
            Some(wgpu::Error::Internal { description, .. }) => {
                Err(GpuError::DeviceLost(shorten(description)))
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.ended != Some(GpuError::Timeout) {
            // SAFETY: the field is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.gpu) }
        }
    }
}
