//! Whether this process was there to hear signs of life, and to write them down.
//!
//! A stopped process, a virtual machine that moves to another host, a disk or a database that stops the world: for as long as nobody listens,
//! nobody is silent. A beat that comes late says for how long that was, and every deadline that silence would pass moves by so much.
//! Where the process is there, but the log is not, each beat says so.

use std::time::Duration;

use aevir_events::Timestamp;
use tokio::time::Instant;

/// How often the process shows itself that it is there. Leases last a second at least.
pub(crate) const BEAT_EVERY: Duration = Duration::from_millis(100);
/// A beat that is late by less than this is a busy machine's, on which signs of life are late, too; two thirds of the time
/// between the heartbeats of the shortest lease.
const LATE_MIN: Duration = Duration::from_millis(200);

/// What is on its way to the log for so long is stuck, and what it takes beyond that is nobody's time. What takes less is slow, and nodes have
/// that much time to spare in all that they are held to.
const STUCK_MAX: Duration = Duration::from_secs(3);
/// The same as a part of the shortest time that nodes are given, where that is less.
const STUCK_PART: u32 = 4;

/// After which time what is not in the log is stuck, where nodes are given such times.
pub(crate) fn stuck_after(shortest: Duration) -> Duration {
    STUCK_MAX.min(shortest / STUCK_PART)
}

/// When this process was last seen running, by both clocks: a machine that was suspended, or whose clock was set on, has its wall clock go
/// on alone.
#[derive(Debug)]
pub(crate) struct Pulse {
    last: Instant,
    /// The latest of the wall clock. One that is set back shows nothing until it is there again, as the log's time does.
    wall: Timestamp,
    /// For how long the log is out of reach so far.
    stuck: Duration,
}

/// Nobody was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// By the clock that waits go by, since the beat before or all of it: what was to end by it ends so much later.
    pub(crate) gone: Duration,
    /// The same by the clock that is further, which is the wall clock where that was set on.
    pub(crate) by_wall: Duration,
    /// By the one that is further, so far, with the beats before for which the log was out of reach.
    pub(crate) so_far: Duration,
    /// It goes on.
    pub(crate) goes_on: bool,
}

impl Pulse {
    pub(crate) fn new(now: Instant, wall: Timestamp) -> Self {
        Self {
            last: now,
            wall,
            stuck: Duration::ZERO,
        }
    }

    /// The process runs, and what it wrote last is stuck for so long, if it is; answers for how long nobody listened since the last beat, if
    /// that was so.
    pub(crate) fn beat(
        &mut self,
        now: Instant,
        wall: Timestamp,
        stuck: Option<Duration>,
    ) -> Option<Pause> {
        let wall_ms = u64::try_from(wall.0.saturating_sub(self.wall.0)).unwrap_or(0);
        let since = now.saturating_duration_since(self.last);
        let since_by_wall = since.max(Duration::from_millis(wall_ms));
        self.last = self.last.max(now);
        self.wall = self.wall.max(wall);
        let late = |since: Duration| {
            let late = since.saturating_sub(BEAT_EVERY);
            if late >= LATE_MIN {
                late
            } else {
                Duration::ZERO
            }
        };
        if let Some(stuck) = stuck {
            let is_first = self.stuck.is_zero();
            let gone = |since: Duration| {
                if is_first {
                    late(since).max(stuck)
                } else {
                    since
                }
            };
            let by_wall = gone(since_by_wall);
            self.stuck = self.stuck.saturating_add(by_wall);
            return Some(Pause {
                gone: gone(since),
                by_wall,
                so_far: self.stuck,
                goes_on: true,
            });
        }
        let stuck = std::mem::take(&mut self.stuck);
        let by_wall = late(since_by_wall);
        let so_far = stuck.saturating_add(by_wall);
        (!so_far.is_zero()).then_some(Pause {
            gone: late(since),
            by_wall,
            so_far,
            goes_on: false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WALL: Timestamp = Timestamp(1_000);

    fn ended(gone: Duration) -> Option<Pause> {
        Some(Pause {
            gone,
            by_wall: gone,
            so_far: gone,
            goes_on: false,
        })
    }

    #[test]
    fn only_a_beat_that_is_late_tells_of_a_pause() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(begun, WALL);
        let mut now = begun;
        for _ in 0..10 {
            now += BEAT_EVERY + LATE_MIN - Duration::from_millis(1);
            assert_eq!(pulse.beat(now, WALL, None), None);
        }
        now += BEAT_EVERY + Duration::from_secs(20);
        assert_eq!(pulse.beat(now, WALL, None), ended(Duration::from_secs(20)));
        assert_eq!(pulse.beat(now, WALL, None), None, "it is told once");
        assert_eq!(pulse.beat(begun, WALL, None), None, "time does not go back");
        now += BEAT_EVERY;
        assert_eq!(pulse.beat(now, WALL, None), None);
    }

    #[test]
    fn a_wall_clock_that_is_set_on_is_a_pause_of_what_goes_by_it_alone() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now, WALL);
        let late = Duration::from_secs(120);
        let stepped = WALL.plus_ms(120_000 + BEAT_EVERY.as_millis() as i64);
        let pause = pulse.beat(now, stepped, None).unwrap();
        assert_eq!((pause.gone, pause.by_wall), (Duration::ZERO, late));
        assert_eq!(pulse.beat(now, WALL, None), None, "set back");
        assert_eq!(pulse.beat(now, stepped, None), None, "and on again");
        let further = stepped.plus_ms(1_100);
        let pause = pulse.beat(now, further, None).unwrap();
        assert_eq!(pause.by_wall, Duration::from_secs(1));
    }

    #[test]
    fn while_the_log_is_out_of_reach_all_time_is_a_pause() {
        let mut now = Instant::now();
        let mut pulse = Pulse::new(now, WALL);
        let ms = Duration::from_millis;
        let mut beat = |after: u64, unwritten: Option<u64>| {
            now += ms(after);
            let pause = pulse.beat(now, WALL, unwritten.map(ms))?;
            assert_eq!(pause.gone, pause.by_wall);
            Some((pause.gone, pause.so_far, pause.goes_on))
        };
        assert_eq!(beat(100, None), None, "it is slow");
        assert_eq!(beat(100, Some(40)), Some((ms(40), ms(40), true)));
        assert_eq!(beat(100, Some(140)), Some((ms(100), ms(140), true)));
        assert_eq!(beat(50, None), Some((ms(0), ms(140), false)));
        assert_eq!(beat(50, None), None, "it is told once");
        // It stood still itself meanwhile.
        let stopped = beat(20_100, Some(17_000));
        assert_eq!(stopped, Some((ms(20_000), ms(20_000), true)));
        assert_eq!(stuck_after(ms(1_000)), ms(250));
        assert_eq!(stuck_after(ms(60_000)), STUCK_MAX);
    }
}
