//! When a node is late, and when that is its own fault: the one place where it is decided, for the machine and for the views.

use aevir_events::Timestamp;

use super::{assignment::Assignment, task::Task};
use crate::report::Artifact;

/// Fuel in a million a second for each unit a ms.
const FUEL_PER_MS: u64 = 1_000;
const MIB: u64 = 1024 * 1024;
/// A node that takes longer than so many times what a run takes at its speed is late by its own fault.
const LATE_RUNS: u64 = 2;
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

/// Whether a result could have been in time: by twice what a run takes that burns so much fuel at so many millions a second, or by its limit
/// where that is not known, with time to fetch its inputs and to prepare. The one place where that is decided.
pub fn could_be_in_time(
    max_latency_ms: Option<u32>,
    limit_ms: u64,
    speed: Option<(u64, u64)>,
    inputs_mib: u64,
) -> bool {
    let run_ms = speed.map_or(limit_ms, |(fuel, mfuel_s)| {
        let a_ms = mfuel_s.saturating_mul(FUEL_PER_MS).max(1);
        fuel.div_ceil(a_ms).min(limit_ms)
    });
    let needed_ms = run_ms
        .saturating_mul(LATE_RUNS)
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

    /// Whether a node of this speed could have brought a result that burnt so much fuel within `max_latency_ms`.
    pub fn could_be_in_time(&self, fuel: u64, mfuel_s: u64) -> bool {
        let is_known = mfuel_s > 0 && self.definition.qos.gpu.is_none();
        could_be_in_time(
            self.definition.qos.max_latency_ms,
            self.limit_ms(),
            is_known.then_some((fuel, mfuel_s)),
            inputs_mib(&self.inputs),
        )
    }
}
