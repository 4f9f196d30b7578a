//! When a node is late, and when that is its own fault: the one place where it is decided, for the machine and for the views.

use aevir_events::Timestamp;

use super::{assignment::Assignment, task::Task};
use crate::report::Artifact;

const MIB: u64 = 1024 * 1024;
/// What it may take to fetch a MiB of inputs, or upload one of outputs, in ms: 8 Mbit/s.
const MOVING_MS_PER_MIB: u64 = 1_000;
/// And to start an executor and compile, in ms.
pub(crate) const PREPARATION_MS: u64 = 5_000;

/// Whether a node that got a lease at one time and committed at another missed the task's `max_latency_ms`; for `absent_ms` of that there was no
/// leader to take its result.
pub fn took_too_long(
    max_latency_ms: Option<u32>,
    leased_at: Timestamp,
    committed_at: Timestamp,
    absent_ms: u64,
) -> bool {
    let all_ms = u64::try_from(committed_at.0.saturating_sub(leased_at.0)).unwrap_or(0);
    max_latency_ms.is_some_and(|most| all_ms.saturating_sub(absent_ms) > u64::from(most))
}

/// What a run may take from its lease on, whatever it does with the time that it may compute, in ms: its node fetches, prepares and uploads as well.
/// What the run burnt tells nothing of what it takes: a module that misses the caches with each load takes a thousand times as long as any
/// probe does for its fuel.
pub fn needed_ms(runtime_s: u32, moved_mib: u64) -> u64 {
    let moving_ms = moved_mib.saturating_mul(MOVING_MS_PER_MIB);
    (u64::from(runtime_s) * 1_000)
        .saturating_add(moving_ms)
        .saturating_add(PREPARATION_MS)
}

/// Whether a deadline left a run all the time that it may take: one that it overtakes nevertheless is late by its node's own fault.
pub fn left_all_time(deadline: Option<Timestamp>, leased_at: Timestamp, needed_ms: u64) -> bool {
    let needed_ms = i64::try_from(needed_ms).unwrap_or(i64::MAX);
    deadline.is_some_and(|at| at.0.saturating_sub(leased_at.0) >= needed_ms)
}

/// Whether a result could have been in time, had its run taken all the time that it may.
pub fn could_be_in_time(max_latency_ms: Option<u32>, needed_ms: u64) -> bool {
    max_latency_ms.is_none_or(|most| u64::from(most) >= needed_ms)
}

/// Files, each rounded up to MiB.
pub fn moved_mib(files: &[Artifact]) -> u64 {
    let each = files.iter().map(|file| file.size.0.div_ceil(MIB));
    each.fold(0, u64::saturating_add)
}

impl Task {
    /// Whether its deadline left a run all the time that it may take. What it would have uploaded nobody knows, and the most that it may would leave
    /// whoever idles minutes for that.
    pub fn left_all_time(&self, run: &Assignment) -> bool {
        let needed = needed_ms(self.definition.limits.runtime_s, moved_mib(&self.inputs));
        left_all_time(self.definition.qos.deadline, run.leased_at, needed)
    }

    /// Whether a run that takes all its time could have brought its outputs within `max_latency_ms`.
    pub fn could_be_in_time(&self, outputs: &[Artifact]) -> bool {
        let moved = moved_mib(&self.inputs).saturating_add(moved_mib(outputs));
        let needed = needed_ms(self.definition.limits.runtime_s, moved);
        could_be_in_time(self.definition.qos.max_latency_ms, needed)
    }
}
