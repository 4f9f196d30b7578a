//! When a node is late, and when that is its own fault: the one place where it is decided, for the machine and for the views.

use aevir_events::Timestamp;

use super::{assignment::Assignment, task::Task};
use crate::report::Artifact;

const MIB: u64 = 1024 * 1024;
/// What it may take to fetch a MiB of inputs, in ms: 8 Mbit/s.
const FETCH_MS_PER_MIB: u64 = 1_000;
/// And to start an executor, compile and upload, in ms.
const PREPARATION_MS: u64 = 5_000;

/// Whether a node that got a lease at one time and committed at another missed the task's `max_latency_ms`. The one place
/// where that is decided.
pub fn took_too_long(
    max_latency_ms: Option<u32>,
    leased_at: Timestamp,
    committed_at: Timestamp,
) -> bool {
    let took_ms = committed_at.0.saturating_sub(leased_at.0);
    max_latency_ms.is_some_and(|most| took_ms > i64::from(most))
}

/// Whether a deadline left a run all the time that it may take, from its lease on: one that it overtakes nevertheless is late by its node's own
/// fault. The one place where that is decided.
pub fn left_all_time(deadline: Option<Timestamp>, leased_at: Timestamp, limit_ms: u64) -> bool {
    let limit_ms = i64::try_from(limit_ms).unwrap_or(i64::MAX);
    deadline.is_some_and(|at| at.0.saturating_sub(leased_at.0) >= limit_ms)
}

/// Whether a result could have been in time, had its run taken all the time that it may, and its node fetched its inputs and prepared. What the
/// run burnt tells nothing of what it takes: a module that misses the caches with each load takes a thousand times as long as any probe
/// does for its fuel. The one place where that is decided.
pub fn could_be_in_time(max_latency_ms: Option<u32>, limit_ms: u64, inputs_mib: u64) -> bool {
    let needed_ms = limit_ms
        .saturating_add(inputs_mib.saturating_mul(FETCH_MS_PER_MIB))
        .saturating_add(PREPARATION_MS);
    max_latency_ms.is_none_or(|most| u64::from(most) >= needed_ms)
}

/// Inputs, each rounded up to MiB.
pub fn inputs_mib(inputs: &[Artifact]) -> u64 {
    let each = inputs.iter().map(|input| input.size.0.div_ceil(MIB));
    each.fold(0, u64::saturating_add)
}

impl Task {
    /// The most that a run may take, in ms.
    pub fn limit_ms(&self) -> u64 {
        u64::from(self.definition.limits.runtime_s) * 1_000
    }

    /// Whether its deadline left a run all the time that it may take, from its lease on.
    pub fn left_all_time(&self, run: &Assignment) -> bool {
        left_all_time(self.definition.qos.deadline, run.leased_at, self.limit_ms())
    }

    /// Whether a run that takes all its time could have brought its result within `max_latency_ms`.
    pub fn could_be_in_time(&self) -> bool {
        let most = self.definition.qos.max_latency_ms;
        could_be_in_time(most, self.limit_ms(), inputs_mib(&self.inputs))
    }
}
