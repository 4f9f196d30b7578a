//! How the writer waits and measures its patience. A simulation has a time of its own.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// A clock that only runs forwards, and waiting by it. Events' times come from [`crate::Options::clock`] instead.
pub trait Timer: Send + Sync {
    /// Time since some moment before the executor's start.
    fn now(&self) -> Duration;
    /// Is done once so much time has passed.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's monotonic clock and tokio's timers.
#[derive(Debug)]
pub(super) struct SystemTimer(Instant);

impl SystemTimer {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Timer for SystemTimer {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
