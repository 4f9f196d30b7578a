//! Whether this process was there to hear signs of life.
//!
//! A stopped process, a virtual machine that moves to another host, a disk that stops the world: for as long as nobody listens,
//! nobody is silent. A beat that comes late says for how long that was, and every deadline that silence would pass moves by so much.

use std::time::Duration;

use tokio::time::Instant;

/// How often the process shows itself that it is there. Leases last a second at least.
pub(crate) const BEAT_EVERY: Duration = Duration::from_millis(100);
/// A beat that is late by less than this is a busy machine's, on which signs of life are late, too; two thirds of the time
/// between the heartbeats of the shortest lease.
const LATE_MIN: Duration = Duration::from_millis(200);

/// When this process was last seen running.
#[derive(Debug)]
pub(crate) struct Pulse {
    last: Instant,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now }
    }

    /// The process runs; answers for how long nobody listened since the last beat, if that was so.
    pub(crate) fn beat(&mut self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        let late = since.saturating_sub(BEAT_EVERY);
        (late >= LATE_MIN).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_beat_that_is_late_tells_of_a_pause() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(begun);
        let mut now = begun;
        for _ in 0..10 {
            now += BEAT_EVERY + LATE_MIN - Duration::from_millis(1);
            assert_eq!(pulse.beat(now), None);
        }
        now += BEAT_EVERY + Duration::from_secs(20);
        assert_eq!(pulse.beat(now), Some(Duration::from_secs(20)));
        assert_eq!(pulse.beat(now), None, "it is told once");
        assert_eq!(pulse.beat(begun), None, "time does not go back");
        now += BEAT_EVERY;
        assert_eq!(pulse.beat(now), None);
    }
}
