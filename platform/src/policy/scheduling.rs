//! The constants of placement: how nodes are ranked, how requesters take turns, how long an epoch of draws lasts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComputePolicy;
use crate::amount::{Amount, Count, PPM, Points, Ppm};

/// Levels that a score is rounded down to. Part of the rule, not of a policy: 64 of them tell nodes apart by one and a
/// half per cent, which is finer than any of the score's parts is true.
pub const SCORE_LEVELS: u32 = 64;

/// Runs at once that a node can offer.
pub const SLOTS_MAX: u32 = 256;

/// How work is placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulingPolicy {
    /// How long an epoch lasts, in ms: its draws can be recomputed once it has ended.
    pub epoch_ms: u32,
    /// Placements of one plan at most; the next plan follows at once.
    pub placements_max: u32,
    /// Room that a run needs beside inputs and outputs, in MiB: module and compiled artefact.
    pub storage_reserve_mib: u32,
    pub score: ScorePolicy,
    /// The highest priority that a requester can give a task; the lowest is 0.
    pub priority_max: u32,
    /// Waiting for this long outweighs one step of priority, in ms.
    pub ageing_ms: u32,
    /// How long what is sealed of a sample waits for a replica that no node takes, in ms; then it is revealed and judged as it is.
    pub round_ms: u32,
    /// Lines of one requester that a plan looks at: tasks that the same nodes can take are one line. Where none of the first ones has
    /// anything to place, it looks at as many others, which follow on one another with each second.
    pub lines_max: u32,
    /// What an account has that no administrator gave other limits.
    pub account: AccountLimits,
    pub tail: TailPolicy,
    pub returns: ReturnPolicy,
    pub reserve: ReservePolicy,
    pub leases: LeasePolicy,
    /// Runs at once that a node may have which has shown nothing yet, however many slots it says it has. Holds for nodes that join from
    /// then on.
    pub unproven_slots: u32,
    /// What part of nodes' outcomes still counts when an epoch closes, in parts per million; all of it is 1,000,000.
    pub reliability_keep_ppm: Ppm,
    /// What a result must earn its node at least, in micro-AEV, to count for it: as a good outcome, for its speed and for its slots.
    pub record_pay_min: Amount,
    /// How often nodes show that their GPUs are of the class that they claim.
    pub compute: ComputePolicy,
}

/// How many runs can be given back for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnPolicy {
    /// Of one task, over all its nodes.
    pub per_task: u32,
    /// Of one node in one epoch, for each run that it takes at once.
    pub per_slot: u32,
}

/// When a node is kept free for a task that needs more room than its other runs leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservePolicy {
    /// A task that has waited for so long may have a node kept free, in ms.
    pub after_ms: u32,
    /// Nodes that are kept free at once at most, one for a requester; 0: none is.
    pub most: u32,
    /// Tasks that one plan looks at to keep a node free for; where there are more, others with each second.
    pub looks_max: u32,
    /// Nodes that are looked at for one of them; where there are more, others with each second.
    pub nodes_max: u32,
    /// No node is kept free whose room is further ahead, in ms.
    pub idle_max_ms: u32,
}

/// How long leases last, whatever heartbeats say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeasePolicy {
    /// How long a node may fetch before it starts a run, with heartbeats, whatever its inputs; without them `accept_ms` is its time. In ms.
    pub fetch_ms: u32,
    /// Beyond that it has the time that its inputs take at this speed, in KiB a second.
    pub fetch_kib_s: u32,
    /// What a run may take beyond its own time limit, for compiling and for uploading outputs, in ms.
    pub slack_ms: u32,
    /// What a run tells of its progress is recorded in the log once in so many ms at most.
    pub progress_ms: u32,
}

/// When a run gets a duplicate, because its task may be late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TailPolicy {
    /// Part of the time between its lease and the task's due time after which a run that does not tell how far it is counts
    /// as in danger.
    pub after_ppm: Ppm,
    /// By so much the duplicate's node is faster than the run's, where speeds are known.
    pub faster_ppm: Ppm,
    /// Tasks in danger that one plan looks at; where there are more, others with each second.
    pub looks_max: u32,
}

/// How nodes are ranked for a task that is not replicated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorePolicy {
    /// Weights of the score's parts, each of which is in parts per million: reliability on the type of task,
    pub reliability_weight: u32,
    /// the owner's compute points,
    pub points_weight: u32,
    /// and the idle part of the node's slots.
    pub idle_weight: u32,
    /// Points at which the points' part is one half: `points / (points + half)`.
    pub points_half: Points,
    /// Nodes at most so many levels below the best one are its near-equals.
    pub near_levels: u32,
    /// Levels that a node gains which has the task's largest input already ...
    pub cached_levels: u32,
    /// ... where that has at least so many bytes.
    pub cached_bytes_min: Count,
    /// Blobs of which the platform remembers that a node has them; the oldest is forgotten first.
    pub cached_blobs_max: u32,
    /// Levels that a node gains which is fast enough for the task's `max_latency_ms`.
    pub in_time_levels: u32,
    /// Levels that a node gains which asks nothing for the type of task; one that asks for a part of its price gains less, and one
    /// that asks for all of it none.
    pub price_levels: u32,
}

/// What one account may have at once, and its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountLimits {
    /// Its share of the nodes' time relative to other requesters that wait.
    pub weight: u32,
    /// Its tasks that have not ended.
    pub tasks_max: u32,
    /// Its replicas that hold a slot of a node.
    pub running_max: u32,
}

impl Default for SchedulingPolicy {
    fn default() -> Self {
        Self {
            epoch_ms: 3_600_000,
            placements_max: 1_024,
            storage_reserve_mib: 64,
            score: ScorePolicy {
                reliability_weight: 6,
                points_weight: 2,
                idle_weight: 2,
                points_half: Points(1_000),
                near_levels: 6,
                cached_levels: 6,
                cached_bytes_min: Count(1 << 20),
                cached_blobs_max: 64,
                in_time_levels: 12,
                price_levels: 6,
            },
            priority_max: 9,
            ageing_ms: 60_000,
            round_ms: 86_400_000,
            lines_max: 64,
            account: AccountLimits {
                weight: 100,
                tasks_max: 10_000,
                running_max: 10_000,
            },
            tail: TailPolicy {
                after_ppm: 500_000,
                faster_ppm: 250_000,
                looks_max: 64,
            },
            returns: ReturnPolicy {
                per_task: 3,
                per_slot: 2,
            },
            reserve: ReservePolicy {
                after_ms: 300_000,
                most: 16,
                looks_max: 16,
                nodes_max: 64,
                idle_max_ms: 7_200_000,
            },
            leases: LeasePolicy {
                fetch_ms: 900_000,
                // Some 8 Mbit/s: 10 GiB have three hours.
                fetch_kib_s: 1_024,
                slack_ms: 300_000,
                progress_ms: 10_000,
            },
            // As many as a small machine has: a larger one shows in minutes what it is.
            unproven_slots: 4,
            // With epochs of an hour half of it is gone after 139 of them, six days.
            reliability_keep_ppm: 995_000,
            // As the attempt fee: what a run is worth at least. The platform's part of it, 50, is what a made-up one costs.
            record_pay_min: Amount(1_000),
            compute: ComputePolicy::default(),
        }
    }
}

/// Bounds of an epoch's length: a shorter one fills the log, a longer one keeps auditors waiting.
const EPOCH_MS: std::ops::RangeInclusive<u32> = 1_000..=86_400_000;
/// Bounds of the wait for a replica: a shorter one ends samples that only wait for their turn, a longer one holds nodes that want to leave.
const ROUND_MS: std::ops::RangeInclusive<u32> = 1_000..=604_800_000;
/// A plan's events are one batch of the log.
const PLACEMENTS_MAX: std::ops::RangeInclusive<u32> = 1..=1_024;
/// Above it a weight's part of a task's charge would round to nothing.
pub(crate) const WEIGHT_MAX: u32 = 10_000;
/// Priorities that a policy can open.
const PRIORITY_MAX: u32 = 100;
/// A day: a longer wait for one step of priority is none.
const AGEING_MS_MAX: u32 = 86_400_000;
/// Remembered blobs of one node: they stand in the state.
const CACHED_BLOBS_MAX: u32 = 1_024;
/// Times that a run, or all runs of a node, can begin anew for nothing: beyond it returning is a way to refuse work.
const RETURNS_MAX: u32 = 100;
/// Bounds of the wait for room: a shorter one empties nodes for whoever comes, a longer one is none.
const RESERVE_AFTER_MS: std::ops::RangeInclusive<u32> = 1_000..=604_800_000;
/// Bounds of how long a node may stand half idle for a task: no run takes longer.
const RESERVE_IDLE_MS: std::ops::RangeInclusive<u32> = 1_000..=86_400_000;
/// Each of them is looked at by each plan.
const RESERVED_MAX: u32 = 1_024;
/// Bounds of a lease's times: a second is a network's hiccup, and a run takes a day at most.
const LEASE_MS: std::ops::RangeInclusive<u32> = 1_000..=86_400_000;
/// Below it a node's record would be gone before it means anything.
const RELIABILITY_KEEP_PPM: std::ops::RangeInclusive<Ppm> = 500_000..=PPM as Ppm;
/// Looking at a task in danger costs about as much as a placement.
const LOOKS_MAX: std::ops::RangeInclusive<u32> = 1..=1_024;
/// Looking at a line that nothing of can be placed costs a part of a placement.
const LINES_MAX: std::ops::RangeInclusive<u32> = 1..=1_024;
/// Ten times as fast: beyond it no node is found.
const FASTER_PPM_MAX: Ppm = 9_000_000;

impl SchedulingPolicy {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the field and its bounds.
    pub(crate) fn check(&self) -> Result<(), String> {
        let score = &self.score;
        if !EPOCH_MS.contains(&self.epoch_ms) {
            return Err("an epoch lasts 1,000 to 86,400,000 ms".into());
        }
        if !ROUND_MS.contains(&self.round_ms) {
            return Err("a round waits for a replica for 1,000 to 604,800,000 ms".into());
        }
        if !PLACEMENTS_MAX.contains(&self.placements_max) {
            return Err("a plan makes 1 to 1,024 placements".into());
        }
        let weights = [
            score.reliability_weight,
            score.points_weight,
            score.idle_weight,
        ];
        if weights.iter().any(|w| *w > WEIGHT_MAX) || weights.iter().all(|w| *w == 0) {
            return Err(format!(
                "the score's weights are 0 to {WEIGHT_MAX}, and one is above 0"
            ));
        }
        if score.points_half.0 < 1 {
            return Err("the score's `points_half` is at least 1".into());
        }
        let levels = [
            score.near_levels,
            score.cached_levels,
            score.in_time_levels,
            score.price_levels,
        ];
        if levels.iter().any(|l| *l > SCORE_LEVELS) {
            return Err(format!("levels are 0 to {SCORE_LEVELS}"));
        }
        if score.cached_blobs_max > CACHED_BLOBS_MAX {
            return Err(format!(
                "at most {CACHED_BLOBS_MAX} blobs are remembered of a node"
            ));
        }
        if self.priority_max > PRIORITY_MAX || !(1..=AGEING_MS_MAX).contains(&self.ageing_ms) {
            return Err(format!(
                "priorities end at {PRIORITY_MAX} at most, and a step ages in 1 to {AGEING_MS_MAX} ms"
            ));
        }
        let tail = &self.tail;
        if !(1..=PPM as Ppm).contains(&tail.after_ppm) || tail.faster_ppm > FASTER_PPM_MAX {
            return Err(format!(
                "the tail's `after_ppm` is 1 to {PPM}, and its `faster_ppm` 0 to {FASTER_PPM_MAX}"
            ));
        }
        if !LOOKS_MAX.contains(&tail.looks_max) {
            return Err("a plan looks at 1 to 1,024 tasks in danger".into());
        }
        if !LINES_MAX.contains(&self.lines_max) {
            return Err("a plan looks at 1 to 1,024 lines of a requester".into());
        }
        if self.returns.per_task.max(self.returns.per_slot) > RETURNS_MAX {
            return Err(format!("returns are 0 to {RETURNS_MAX}"));
        }
        let reserve = &self.reserve;
        if !RESERVE_AFTER_MS.contains(&reserve.after_ms) || reserve.most > RESERVED_MAX {
            return Err(format!(
                "nodes are kept free after 1,000 to 604,800,000 ms, and {RESERVED_MAX} at once at most"
            ));
        }
        if ![reserve.looks_max, reserve.nodes_max]
            .iter()
            .all(|n| LOOKS_MAX.contains(n))
        {
            return Err(
                "a plan looks at 1 to 1,024 tasks to keep a node free for, and at as many nodes"
                    .into(),
            );
        }
        if !RESERVE_IDLE_MS.contains(&reserve.idle_max_ms) {
            return Err("nodes are kept free for 1,000 to 86,400,000 ms at most".into());
        }
        let leases = &self.leases;
        if leases.fetch_kib_s == 0 {
            return Err("the leases' `fetch_kib_s` is at least 1".into());
        }
        let times = [leases.fetch_ms, leases.slack_ms, leases.progress_ms];
        if times.iter().any(|ms| !LEASE_MS.contains(ms)) {
            return Err("the leases' times are 1,000 to 86,400,000 ms".into());
        }
        if !(1..=SLOTS_MAX).contains(&self.unproven_slots) {
            return Err(format!("`unproven_slots` is 1 to {SLOTS_MAX}"));
        }
        if !RELIABILITY_KEEP_PPM.contains(&self.reliability_keep_ppm) {
            return Err(format!(
                "`reliability_keep_ppm` is {} to {}",
                RELIABILITY_KEEP_PPM.start(),
                RELIABILITY_KEEP_PPM.end()
            ));
        }
        if self.record_pay_min < Amount::ZERO {
            return Err("`record_pay_min` is 0 at least".into());
        }
        self.compute.check()?;
        self.account.check()
    }
}

impl LeasePolicy {
    /// The time that so many bytes take at the least speed of fetching, in ms.
    pub fn transfer_ms(&self, bytes: u64) -> u64 {
        const KIB: u128 = 1_024;
        let a_second = u128::from(self.fetch_kib_s.max(1)) * KIB;
        let ms = (u128::from(bytes) * 1_000).div_ceil(a_second);
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

impl AccountLimits {
    /// What is wrong with them, if anything.
    ///
    /// # Errors
    /// A sentence that names the bounds.
    pub(crate) fn check(&self) -> Result<(), String> {
        if (1..=WEIGHT_MAX).contains(&self.weight) {
            Ok(())
        } else {
            Err(format!("an account's weight is 1 to {WEIGHT_MAX}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let leases = |fetch_kib_s| LeasePolicy {
            fetch_kib_s,
            ..SchedulingPolicy::default().leases
        };
        assert_eq!(leases(1_024).transfer_ms(0), 0);
        assert_eq!(leases(1_024).transfer_ms(1), 1, "rounded up");
        assert_eq!(leases(1_024).transfer_ms(10 << 30), 10_240_000);
        assert_eq!(leases(1).transfer_ms(u64::MAX), 18_014_398_509_481_984_000);
        assert_eq!(leases(u32::MAX).transfer_ms(4 << 40), 1_001);
    }
}
