//! The device that an executor process keeps from one run to the next.
//!
//! Opening a device and probing it takes tens of milliseconds, compiling a kernel as much again; a requester's next run on the
//! same process has both for nothing. A kept device is as good as a new one: buffers of the last run are gone or kept zeroed
//! for the next ([`crate::pool`]), what is made later is zeroed before anybody reads it, and a device that failed in any way is not kept.

use crate::adapter::Gpu;
use crate::error::AdapterError;
use crate::limits::GpuLimits;
use crate::session::Session;

/// Keeps at most one device. Of one requester: never lend the same value to two.
#[derive(Debug, Default)]
pub struct Devices {
    kept: Option<(Asked, Gpu)>,
}

/// What a device was opened with; all other limits are the session's.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    features: Vec<String>,
    buffer_bytes: u64,
}

impl Asked {
    fn of(limits: &GpuLimits) -> Self {
        Self {
            features: limits.features.clone(),
            buffer_bytes: limits.buffer_bytes,
        }
    }
}

impl Devices {
    /// Starts a session on the kept device, if it is what `limits` ask for and of this class, or else on one opened for it.
    ///
    /// # Errors
    /// Those of [`Gpu::open_class`].
    pub fn session(
        &mut self,
        limits: &GpuLimits,
        class: Option<&str>,
    ) -> Result<Session, AdapterError> {
        limits.check()?;
        let suits = |gpu: &Gpu| gpu.is_healthy() && class.is_none_or(|c| c == gpu.info().class);
        let gpu = match self.kept.take() {
            Some((asked, gpu)) if asked == Asked::of(limits) && suits(&gpu) => gpu,
            _ => Gpu::open_class(limits, class)?,
        };
        Ok(Session::new(gpu, limits.clone()))
    }

    /// Takes the device back after a run, unless it failed or hangs. Drop everything else of the run before.
    pub fn keep(&mut self, session: Session) {
        let asked = Asked::of(session.limits());
        self.kept = session.into_gpu().map(|gpu| (asked, gpu));
    }

    /// Whether a device is kept.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.kept.is_some()
    }
}
