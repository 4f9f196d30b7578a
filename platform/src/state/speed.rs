//! How fast a node showed itself to be, from facts of the log alone: the fuel of its accepted results, and the time from a
//! run's lease to its commitment.
//!
//! It counts from the lease, for nothing but the node's word tells when a run really began: one that computes first and says that it
//! starts afterwards would show any speed. That time holds fetching, compiling, waiting for calls of the host, and uploading, too, and
//! modules differ in how fast their fuel burns: one result tells what a node can do at least. So only runs that compute a good deal are
//! samples, a part of their time is forgiven, and the best of them counts, and fades, by a sixteenth with each further one: a node that
//! became slower shows it after some dozens of results. What is forgiven is at most half of the time, so that no run that began after
//! its lease shows more than twice its node's speed.

use serde::{Deserialize, Serialize};

/// A run that burns less says more of starting, waiting and uploading than of computing. Half a second's to a minute's work.
const FUEL_MIN: u64 = 10_000_000_000;
/// Of a run's time, for compiling, starting and uploading, in ms; with fetching at most half of it.
const FORGIVEN_MS: u64 = 1_000;
/// What one sees of a node by fewer results may be chance.
const SAMPLES_MIN: u32 = 8;
/// With each further result the best so far loses one of so many parts.
const FADING: u32 = 16;
/// A node that shows less than one of so many parts of the speed that it claims is slower than it claims.
const SLOWER_PART: u32 = 2;
/// Fuel in a million a second, for each fuel unit a millisecond: 1,000 units a ms are a million a second.
const FUEL_PER_MS: u64 = 1_000;

/// The speed that a node's results showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpeedRecord {
    /// Fuel, in millions a second: the best result's, faded by those after it.
    pub mfuel_s: u32,
    /// Results that it was taken from.
    pub samples: u32,
}

impl SpeedRecord {
    /// Takes in an accepted result without GPU that burnt `fuel` within `ms` of its lease, of which it may have fetched for
    /// `fetching_ms`.
    pub fn see(&mut self, fuel: u64, ms: i64, fetching_ms: u64) {
        let Some(ms) = u64::try_from(ms).ok().filter(|ms| *ms > 0) else {
            return;
        };
        if fuel < FUEL_MIN {
            return;
        }
        let forgiven = FORGIVEN_MS.saturating_add(fetching_ms);
        let span = ms.div_ceil(2).max(ms.saturating_sub(forgiven));
        let shown = u32::try_from(fuel / span / FUEL_PER_MS).unwrap_or(u32::MAX);
        // Rounded up, so that small figures fade, too.
        let faded = self.mfuel_s - self.mfuel_s.div_ceil(FADING);
        self.mfuel_s = shown.max(faded);
        self.samples = self.samples.saturating_add(1);
    }

    /// What placement counts with, for a node that claims so much: the lower of the two. `None` where it claims nothing.
    pub fn counted(self, claimed: Option<u32>) -> Option<u32> {
        claimed.map(|claimed| self.shown().map_or(claimed, |shown| claimed.min(shown)))
    }

    /// It showed, again and again, less than half of what the node claims.
    pub fn is_below(self, claimed: Option<u32>) -> bool {
        let floor = claimed.unwrap_or(0) / SLOWER_PART;
        self.shown().is_some_and(|shown| shown < floor)
    }

    /// What it showed, once that is more than chance.
    pub fn shown(self) -> Option<u32> {
        (self.samples >= SAMPLES_MIN).then_some(self.mfuel_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_counts_and_fades() {
        let mut speed = SpeedRecord::default();
        speed.see(9_999_999_999, 60_000, 0);
        speed.see(10_000_000_000, 0, 0);
        assert_eq!(speed, SpeedRecord::default(), "too little to tell");
        // 40 x 10^9 units in 20 s and one that is forgiven are 2,000 million a second.
        speed.see(40_000_000_000, 21_000, 0);
        assert_eq!((speed.mfuel_s, speed.shown()), (2_000, None));
        for _ in 0..7 {
            speed.see(10_000_000_000, 11_000, 0);
        }
        assert_eq!(speed.shown(), Some(1_271), "a sixteenth fewer, seven times");
        for _ in 0..60 {
            speed.see(10_000_000_000, 21_000, 0);
        }
        assert_eq!(speed.shown(), Some(500), "never below what it shows");
        speed.see(10_000_000_000, 1_001, 0);
        assert_eq!(speed.shown(), Some(19_960), "at most half is forgiven");
        speed.see(10_000_000_000, 1_001, u64::MAX);
        assert_eq!(speed.shown(), Some(19_960), "with fetching, too");
        let mut fetching = SpeedRecord::default();
        fetching.see(40_000_000_000, 26_000, 5_000);
        assert_eq!(fetching.mfuel_s, 2_000, "it began later");
        for _ in 0..600 {
            speed.see(10_000_000_000, i64::MAX, 0);
        }
        assert_eq!(speed.shown(), Some(0));
    }
}
