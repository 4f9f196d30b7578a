//! Waiting for the GPU, and the time it took.
//!
//! Most work of small models takes a GPU tens of microseconds, as long as a sleeping thread takes to be woken: so a thread that waits
//! for hardware looks at the fence for a moment before it sleeps. Timestamps cost the GPU two microseconds a batch and their reading
//! ten more, so they are read now and then, and not with each result.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Session;
use crate::adapter::DeviceType;
use crate::error::{GpuError, limit};

const NS_PER_MS: u64 = 1_000_000;
/// How long a thread looks at the fence before it sleeps: twice what sleeping and waking cost. Longer would spare a smaller part of a longer
/// wait.
const SPIN_MAX: Duration = Duration::from_micros(200);
/// A wait of at least this long says that the GPU computes for longer than a submission takes the host. The next batch is then handed over at
/// once, and the read that follows it recorded while it runs; shorter ones wait for their read, and travel in one submission with it.
const BATCH_IS_LONG: Duration = Duration::from_micros(100);
/// Outstanding time after which timestamps are read with the next result: by so much a run can outlast its limit of GPU time. Each reading of
/// ten microseconds is then a thousandth.
const TIME_UNREAD_MAX_NS: u64 = 10 * NS_PER_MS;

/// What is known of the time since the last reading of timestamps.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Since when work is outstanding.
    busy_since: Option<Instant>,
    /// Nanoseconds in which work was outstanding: the GPU took no longer.
    unread_ns: u64,
    /// How long the last wait took.
    last_wait: Option<Duration>,
}

impl Clock {
    /// Nanoseconds that are not read off the device yet.
    pub(super) fn unread_ns(&self) -> u64 {
        self.unread_ns
    }
}

impl Session {
    pub(super) fn note_submission(&mut self) {
        self.in_flight += 1;
        self.pending_write_bytes = 0;
        self.clock.busy_since.get_or_insert_with(Instant::now);
    }

    /// Whether a batch is to be handed over before anybody asks for its results.
    pub(super) fn is_long(&self) -> bool {
        self.clock
            .last_wait
            .is_some_and(|last| last >= BATCH_IS_LONG)
    }

    /// Whether timestamps are to be read now.
    pub(super) fn is_time_due(&self) -> bool {
        let unread = self.clock.unread_ns;
        let used = self.usage.time_ns.saturating_add(unread);
        unread >= TIME_UNREAD_MAX_NS
            || used / NS_PER_MS >= self.limits.time_ms
            || self.timer.as_ref().is_none_or(|timer| !timer.has_room())
    }

    /// Waits for everything submitted.
    pub(super) fn wait(&mut self) -> Result<(), GpuError> {
        let left_ms = (self.limits.time_ms).saturating_sub(self.usage.time_ns / NS_PER_MS);
        let (name, value_ms, wait_ms) = match self.limits.wait_ms <= left_ms {
            true => (limit::WAIT, self.limits.wait_ms, self.limits.wait_ms),
            false => (limit::TIME, self.limits.time_ms, left_ms),
        };
        // Buffers dropped up to here are free once the wait is over.
        let dropped = self.holdings.bytes_dropped.load(Relaxed);
        let started = Instant::now();
        let polled = match self.spin(started, Duration::from_millis(wait_ms)) {
            Some(polled) => polled,
            None => self.gpu.device.poll(wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(Duration::from_millis(wait_ms)),
            }),
        };
        match polled {
            Ok(_) => {
                self.holdings.bytes_dropped.fetch_sub(dropped, Relaxed);
                self.in_flight = 0;
                self.in_flight_commands = 0;
                self.pending_calls = 0;
                self.clock.last_wait = Some(started.elapsed());
                self.check_faults()
            }
            Err(wgpu::PollError::Timeout) => {
                self.hung = true;
                self.count_time(None);
                Err(self.end(GpuError::Timeout {
                    limit: name,
                    value_ms,
                }))
            }
            Err(error) => Err(self.end(GpuError::DeviceLost(error.to_string()))),
        }
    }

    /// Looks at the fence for a moment, where the last wait was as short as that. Software computes on the processor that would look.
    fn spin(
        &self,
        started: Instant,
        wait: Duration,
    ) -> Option<Result<wgpu::PollStatus, wgpu::PollError>> {
        let software = self.gpu.info().device_type == DeviceType::Cpu;
        if software || self.clock.last_wait.is_some_and(|last| last > SPIN_MAX) {
            return None;
        }
        let spin = SPIN_MAX.min(wait);
        while started.elapsed() < spin {
            match self.gpu.device.poll(wgpu::PollType::Poll) {
                Ok(status) if !status.is_queue_empty() => std::hint::spin_loop(),
                over => return Some(over),
            }
        }
        None
    }

    /// Adds the time since the last wait to what is unread, or, with the device's timestamps of all of it, to what was used: never more than
    /// has passed. Where there are no timestamps, the time in which work was outstanding is what was used.
    pub(super) fn count_time(&mut self, stamps: Option<&[u8]>) {
        let passed = self.clock.busy_since.take().map_or(0, |since| {
            u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
        });
        let unread = self.clock.unread_ns.saturating_add(passed);
        let counted = match (&mut self.timer, stamps) {
            (Some(timer), Some(stamps)) => timer.read(stamps).min(unread),
            (Some(_), None) if !self.hung => {
                self.clock.unread_ns = unread;
                return;
            }
            _ => unread,
        };
        self.clock.unread_ns = 0;
        self.usage.time_ns = self.usage.time_ns.saturating_add(counted);
    }

    /// Ends the session whose GPU time is used up, by what the device says of it.
    pub(super) fn check_time(&mut self) -> Result<(), GpuError> {
        let used_ms = |session: &Self| session.usage().time_ns / NS_PER_MS;
        let value_ms = self.limits.time_ms;
        if used_ms(self) >= value_ms && self.clock.unread_ns > 0 {
            // Which comes here again, with nothing unread.
            return self.flush();
        }
        match used_ms(self) >= value_ms {
            true => Err(self.end(GpuError::Timeout {
                limit: limit::TIME,
                value_ms,
            })),
            false => Ok(()),
        }
    }
}
