//! IntelliPoints of one account.

use serde::{Deserialize, Serialize};

use super::record::Fading;
use crate::{
    amount::{Points, Ppm},
    event::Track,
};

/// One point, in the unit that points are counted in: thousandths, so that they can fade.
const POINT: u64 = 1_000;

/// An account's IntelliPoints by track, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PointsBalance {
    compute: u64,
    content: u64,
    verification: u64,
}

impl PointsBalance {
    /// The whole points of one track: what can be lost, and what is shown.
    pub fn on(&self, track: Track) -> Points {
        Points(i64::try_from(self.thousandths_on(track) / POINT).unwrap_or(i64::MAX))
    }

    /// The points of one track, in thousandths.
    pub fn thousandths_on(&self, track: Track) -> u64 {
        match track {
            Track::Compute => self.compute,
            Track::Content => self.content,
            Track::Verification => self.verification,
        }
    }

    /// The points of all tracks, in thousandths.
    pub fn thousandths(&self) -> u128 {
        [self.compute, self.content, self.verification]
            .map(u128::from)
            .iter()
            .sum()
    }

    /// Adds whole points to one track, or takes them off; `None` where that would be below zero or past 64 bits.
    pub fn change(&mut self, track: Track, delta: Points) -> Option<()> {
        let on = match track {
            Track::Compute => &mut self.compute,
            Track::Content => &mut self.content,
            Track::Verification => &mut self.verification,
        };
        let delta = i128::from(delta.0) * i128::from(POINT);
        let after = u64::try_from(i128::from(*on) + delta).ok()?;
        *on = after;
        // Sums of them are signed in the views.
        i64::try_from(after).ok().map(drop)
    }

    /// What an epoch that closes leaves.
    pub fn kept(self, keep_ppm: Ppm) -> Self {
        self.each(|on| Fading::once(on, keep_ppm))
    }

    /// What is left when `to` epochs have closed of what was there when `since` had.
    pub fn faded(self, fading: &Fading, since: u32, to: u32) -> Self {
        self.each(|on| fading.count(on, since, to))
    }

    fn each(self, on: impl Fn(u64) -> u64) -> Self {
        Self {
            compute: on(self.compute),
            content: on(self.content),
            verification: on(self.verification),
        }
    }
}
