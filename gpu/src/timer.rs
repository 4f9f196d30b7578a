//! GPU time by the device's own clock: a timestamp before and after each batch.

/// Batches that can be timed between two readings.
pub(crate) const BATCHES_MAX: u32 = 64;
/// Bytes of one timestamp.
const STAMP_BYTES: u64 = 8;
/// Bytes of all timestamps between two readings.
pub(crate) const BYTES: u64 = 2 * STAMP_BYTES * BATCHES_MAX as u64;

/// Timestamps of the batches since the last reading.
#[derive(Debug)]
pub(crate) struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds of one tick.
    period_ns: f64,
    batches: u32,
}

impl Timer {
    /// What a device needs for it.
    pub(crate) const FEATURES: wgpu::Features =
        wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

    pub(crate) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timer"),
            ty: wgpu::QueryType::Timestamp,
            count: 2 * BATCHES_MAX,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timer"),
            size: BYTES,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self {
            queries,
            resolved,
            period_ns: queue.get_timestamp_period().into(),
            batches: 0,
        }
    }

    /// Whether another batch can be timed before the next reading.
    pub(crate) fn has_room(&self) -> bool {
        self.batches < BATCHES_MAX
    }

    /// Records the start of a batch.
    pub(crate) fn begin(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.write_timestamp(&self.queries, 2 * self.batches);
    }

    /// Records its end.
    pub(crate) fn end(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.write_timestamp(&self.queries, 2 * self.batches + 1);
    }

    /// The batch was accepted.
    pub(crate) fn count(&mut self) {
        self.batches += 1;
    }

    /// Copies what was recorded to `target`.
    pub(crate) fn copy_to(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        target: &wgpu::Buffer,
        offset: u64,
    ) {
        if self.batches > 0 {
            encoder.resolve_query_set(&self.queries, 0..2 * self.batches, &self.resolved, 0);
            let bytes = 2 * STAMP_BYTES * u64::from(self.batches);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, target, offset, bytes);
        }
    }

    /// Nanoseconds in all batches since the last reading, out of the bytes that [`Self::copy_to`] left. A clock that runs
    /// backwards, as some do when a GPU changes its frequency, counts as zero.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> u64 {
        let stamps = bytes.chunks_exact(STAMP_BYTES as usize).map(|stamp| {
            let stamp = stamp.try_into().unwrap_or_default();
            u64::from_le_bytes(stamp)
        });
        let stamps: Vec<_> = stamps.take(2 * self.batches as usize).collect();
        self.batches = 0;
        let ticks = stamps.chunks_exact(2).fold(0u64, |sum, pair| {
            sum.saturating_add(pair[1].saturating_sub(pair[0]))
        });
        // Saturates.
        (ticks as f64 * self.period_ns) as u64
    }
}
