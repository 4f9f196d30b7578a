//! What is counted while a market plays. Integers only, so that the same seed gives the same figures.

use aevir_events::Timestamp;

use crate::book::BEGIN;

/// Counts of one hour of tasks, by when they were created.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hour {
    pub(crate) created: u64,
    /// Results that were sealed for them.
    pub(crate) sealed: u64,
    /// Verdicts that accept a result.
    pub(crate) verified: u64,
    pub(crate) matured: u64,
    /// Whose accepted result is wrong.
    pub(crate) wrong_matured: u64,
}

/// All counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hours: Vec<Hour>,
    /// From the queue to the first lease, in ms, of each task.
    pub(crate) queue_ms: Vec<i64>,
    /// From the queue to the verdict, in ms, summed.
    pub(crate) verdict_ms: i64,
    /// Slots held by leases, in ms, summed.
    pub(crate) busy_ms: i64,
    pub(crate) inconclusive: u64,
    /// Closed without a verdict.
    pub(crate) closed: u64,
    /// Verdicts that were looked at again, and of them those that were overturned.
    pub(crate) reviews: u64,
    pub(crate) overturned: u64,
    /// Looks of verifiers at results, of them those that decided nothing, and those whose verifiers never looked.
    pub(crate) inspections: u64,
    pub(crate) undecided: u64,
    pub(crate) unlooked: u64,
    pub(crate) wrong_sealed: u64,
    pub(crate) wrong_accepted: u64,
    /// Right results of honest nodes that a verdict refused.
    pub(crate) honest_refused: u64,
    /// In micro-AEV, of whom strategies are, and of the honest.
    pub(crate) slashed: i64,
    pub(crate) honest_slashed: i64,
    /// Names that were given up.
    pub(crate) renamed: u64,
}

impl Tally {
    /// The counts of the hour of a time.
    pub(crate) fn hour(&mut self, at: Timestamp) -> &mut Hour {
        let hour = usize::try_from((at.0 - BEGIN.0) / crate::terms::HOUR_MS).unwrap_or(0);
        if self.hours.len() <= hour {
            self.hours.resize(hour + 1, Hour::default());
        }
        &mut self.hours[hour]
    }

    /// Sums over some hours.
    pub(crate) fn sum(&self, hours: std::ops::Range<usize>) -> Hour {
        let hours = self.hours.iter().take(hours.end).skip(hours.start);
        hours.fold(Hour::default(), |sum, hour| Hour {
            created: sum.created + hour.created,
            sealed: sum.sealed + hour.sealed,
            verified: sum.verified + hour.verified,
            matured: sum.matured + hour.matured,
            wrong_matured: sum.wrong_matured + hour.wrong_matured,
        })
    }
}
