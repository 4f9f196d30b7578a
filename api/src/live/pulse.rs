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

/// A batch that is on its way to the log for so long is stuck. Less is a slow disk's.
const STUCK_MIN: Duration = Duration::from_millis(500);

/// When this process was last seen running, by both clocks: where a machine was suspended, the one that deadlines of the log go by may
/// have gone on while the other stood.
#[derive(Debug)]
pub(crate) struct Pulse {
    last: Instant,
    wall: Timestamp,
    /// For how long the log is out of reach so far.
    stuck: Duration,
}

/// Nobody was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Since the beat before, or all of it.
    pub(crate) gone: Duration,
    /// So far, with the beats before for which the log was out of reach.
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

    /// The process runs, and what it wrote last is on its way to the log for so long; answers for how long nobody listened since the last
    /// beat, if that was so.
    pub(crate) fn beat(
        &mut self,
        now: Instant,
        wall: Timestamp,
        unwritten: Option<Duration>,
    ) -> Option<Pause> {
        let by_wall = u64::try_from(wall.0.saturating_sub(self.wall.0)).unwrap_or(0);
        let since = now.saturating_duration_since(self.last);
        let since = since.max(Duration::from_millis(by_wall));
        self.last = self.last.max(now);
        self.wall = wall;
        if let Some(unwritten) = unwritten.filter(|for_long| *for_long >= STUCK_MIN) {
            // What came before the first of such beats was not written, either.
            let gone = match self.stuck.is_zero() {
                true => since.max(unwritten),
                false => since,
            };
            self.stuck = self.stuck.saturating_add(gone);
            return Some(Pause {
                gone,
                so_far: self.stuck,
                goes_on: true,
            });
        }
        let stuck = std::mem::take(&mut self.stuck);
        let late = since.saturating_sub(BEAT_EVERY);
        let gone = if late >= LATE_MIN {
            late
        } else {
            Duration::ZERO
        };
        let so_far = stuck.saturating_add(gone);
        (!so_far.is_zero()).then_some(Pause {
            gone,
            so_far,
            goes_on: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp(1_000);

    fn ended(gone: Duration) -> Option<Pause> {
        Some(Pause {
            gone,
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
    fn a_wall_clock_that_is_set_on_is_a_pause_and_one_that_is_set_back_is_none() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now, WALL);
        let late = Duration::from_secs(120);
        let stepped = WALL.plus_ms(120_000 + BEAT_EVERY.as_millis() as i64);
        assert_eq!(pulse.beat(now, stepped, None), ended(late));
        assert_eq!(pulse.beat(now, WALL, None), None);
        assert_eq!(pulse.beat(now, WALL.plus_ms(50), None), None);
    }

    #[test]
    fn while_the_log_is_out_of_reach_all_time_is_a_pause() {
        let mut now = Instant::now();
        let mut pulse = Pulse::new(now, WALL);
        let ms = Duration::from_millis;
        now += ms(100);
        assert_eq!(pulse.beat(now, WALL, Some(ms(90))), None, "it is slow");
        now += ms(500);
        let pause = pulse.beat(now, WALL, Some(ms(590)));
        let so_far = ms(590);
        assert_eq!(
            pause.map(|p| (p.gone, p.so_far, p.goes_on)),
            Some((so_far, so_far, true))
        );
        now += ms(100);
        let pause = pulse.beat(now, WALL, Some(ms(690)));
        assert_eq!(
            pause.map(|p| (p.gone, p.so_far, p.goes_on)),
            Some((ms(100), ms(690), true))
        );
        now += ms(50);
        let pause = pulse.beat(now, WALL, None);
        assert_eq!(
            pause.map(|p| (p.gone, p.so_far, p.goes_on)),
            Some((ms(0), ms(690), false))
        );
        assert_eq!(pulse.beat(now, WALL, None), None, "it is told once");
    }
}
