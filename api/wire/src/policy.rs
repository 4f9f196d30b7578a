//! The market's constants.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One version of the market's constants. `PUT /v1/policy`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// `open`: a task never runs on its requester's node, nor twice with one owner; `private`: those filters are off.
    pub market: String,
    /// Content share on top of the compute fee, in parts per million.
    pub content_share_ppm: u32,
    /// Platform share on top of the compute fee, in parts per million.
    pub platform_share_ppm: u32,
    /// Paid for work that ends without a verdict for or against it, in micro-AEV.
    pub attempt_fee: String,
    /// A lease without a heartbeat for this long is lost.
    pub lease_ms: u32,
    /// A node must start what it was leased within this time.
    pub accept_ms: u32,
    /// A node must reveal within this time after the round closed.
    pub reveal_ms: u32,
    /// A node that was silent for this long is offline.
    pub offline_ms: u32,
    /// First back-off of a node for a task type after a fault; doubles with each further one.
    pub backoff_ms: u32,
    /// The most that a back-off grows to.
    pub backoff_max_ms: u32,
    pub points: PointsPolicy,
    pub scheduling: SchedulingPolicy,
    pub settlement: SettlementPolicy,
    pub stake: StakePolicy,
    pub rewards: RewardsPolicy,
    pub verification: VerificationPolicy,
    pub contents: ContentsPolicy,
}

/// How contents earn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentsPolicy {
    /// The part of what a content earns that goes to those it was made of, and of that again to those that they were made of, in parts per
    /// million; at most half.
    pub royalty_ppm: u32,
    /// So many generations of them earn; at most 8.
    pub generations: u8,
    /// A file that one account has registered can't be registered by another.
    pub first_registrant: bool,
}

/// How epochs reward points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardsPolicy {
    /// The part of an epoch's platform fees that its pool gets, in parts per million; at most half.
    pub pool_ppm: u32,
    /// For so many epochs after its own a pool can be claimed.
    pub claim_epochs: u32,
}

/// How results are verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerificationPolicy {
    pub adaptive: AdaptivePolicy,
    /// In an open market so many of a quorum's results must have stake behind them for it to decide; all of them where it has fewer.
    pub staked_votes: u32,
    /// Of samples, what their nodes reveal can be read in the log with the verdict (`closed`), or at once (`open`).
    pub reveals: String,
    /// How long a review may take, in ms; without an outcome by then the verdict stands.
    pub review_ms: u32,
    /// How long the verifiers of a method may take, in ms; without an outcome by then they have said nothing.
    pub inspection_ms: u32,
    /// Verifiers are drawn among the nodes that have free what they are to lock for their word. A private market does not ask for it.
    pub verifiers_staked: bool,
    /// With which chance a candidate whose owner has no points is elected a verifier when it comes up, in parts per million.
    pub election_floor_ppm: u32,
    /// SHA-256 of the registered module by which the market compares results up to a tolerance. Absent: each requester brings one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
}

/// When one result of an adaptive sample stands alone, and how often it is repeated all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptivePolicy {
    /// What a node is assumed to save by cheating on a result, as a part of the price, in parts per million.
    pub cheat_saving_ppm: u32,
    /// The part of owners that is assumed to cheat together, in parts per million.
    pub colluding_ppm: u32,
    /// A result is repeated at least so often, in parts per million.
    pub floor_ppm: u32,
    /// The least reliability at which a node is trusted, in parts per million.
    pub trusted_ppm: u32,
    /// A result that stood alone matures once a later one of its node, which a draw had repeated, has stood; else it is repeated then.
    pub vouched: bool,
}

/// What nodes pledge for their results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StakePolicy {
    /// Stake that is locked for one result until it has matured, as a part of the price of the replica, in parts per million.
    pub per_result_ppm: u32,
    /// Refused results of a node, within `strike_ms` of one another, that cost it no stake.
    pub strikes_free: u32,
    /// Results of a node that a quorum must have accepted before any refused one costs no stake.
    pub free_after: u32,
    /// A refused result is forgotten when none followed for so long, in ms.
    pub strike_ms: u32,
    /// Refused results, within `strike_ms` of one another, with which a node is suspended until an administrator releases it; with 0, none is.
    pub strikes_max: u32,
}

/// How verdicts become money that can be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettlementPolicy {
    /// The dispute window, in ms: shares and points of a verdict mature so long after it; with 0, at once.
    pub window_ms: u32,
}

/// How IntelliPoints are earned and lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PointsPolicy {
    /// Points minted per million micro-AEV of platform share.
    pub per_aev_of_platform_share: u32,
    /// Part of them for the content track, in parts per million.
    pub content_ppm: u32,
    /// A refused result costs at least this many points ...
    pub refused_min: String,
    /// ... and at least this part of the owner's compute points, in parts per million.
    pub refused_ppm: u32,
    /// What a lost lease costs.
    pub lost: String,
    /// What is earned of the points of a result that nobody repeated, in parts per million.
    pub unrepeated_ppm: u32,
    /// What is earned of the points of a result that came later than `max_latency_ms` after its lease, in parts per million.
    pub late_ppm: u32,
    /// What part of all points is kept when an epoch closes, in parts per million.
    pub keep_ppm: u32,
}

/// How work is placed; see `docs/economics.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulingPolicy {
    /// How long an epoch of draws lasts, in ms.
    pub epoch_ms: u32,
    /// Placements of one plan at most.
    pub placements_max: u32,
    /// Room that a run needs beside inputs and outputs, in MiB.
    pub storage_reserve_mib: u32,
    pub score: ScorePolicy,
    /// The highest priority that a requester can give a task; the lowest is 0.
    pub priority_max: u32,
    /// Waiting for this long outweighs one step of priority, in ms.
    pub ageing_ms: u32,
    /// How long what is sealed of a sample waits for a replica that no node takes, in ms; then it is revealed and judged as it is.
    pub round_ms: u32,
    /// Lines of one requester that a plan looks at, where tasks that the same nodes can take are one line; 1 to 1,024. Where none of the
    /// first ones has anything to place, it looks at as many others, which follow on one another with each second.
    pub lines_max: u32,
    pub account: AccountLimits,
    pub tail: TailPolicy,
    pub returns: ReturnPolicy,
    pub reserve: ReservePolicy,
    pub leases: LeasePolicy,
    /// Runs at once that a node may have which has shown nothing yet, however many slots it says it has; 1 to 256. Holds for nodes that
    /// join from then on.
    pub unproven_slots: u32,
    /// What part of nodes' outcomes still counts when an epoch closes, in parts per million.
    pub reliability_keep_ppm: u32,
    /// What a result must earn its node at least, in micro-AEV, to count for it: as a good outcome, for its speed and for its slots.
    pub record_pay_min: String,
    pub compute: ComputePolicy,
}

/// How often nodes show that their GPUs are of the class that they claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComputePolicy {
    /// The mean time between two checks of a node, 60,000 to 604,800,000 ms; when exactly nobody can foresee. 0: there are none.
    pub check_ms: u32,
    /// The same while less counts than the node claims, 60,000 to 604,800,000 ms.
    pub retry_ms: u32,
    /// An answer that takes longer is none, 1,000 to 600,000 ms.
    pub answer_ms: u32,
    /// Checks of one node on one day, 1 to 96.
    pub per_day: u32,
}

/// How many runs can be given back for nothing, by nodes that stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnPolicy {
    /// Of one task, over all its nodes.
    pub per_task: u32,
    /// Of one node in one epoch, for each run that it takes at once.
    pub per_slot: u32,
}

/// When a node is kept free for a task that needs more room than its other runs leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// How long leases last, whatever heartbeats say; times are 1,000 to 86,400,000 ms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeasePolicy {
    /// How long a node may fetch before it starts a run, with heartbeats, whatever its inputs.
    pub fetch_ms: u32,
    /// Beyond that it has the time that its inputs take at this speed, in KiB a second; at least 1.
    pub fetch_kib_s: u32,
    /// What a run may take beyond its own time limit, for compiling and for uploading outputs.
    pub slack_ms: u32,
    /// What a run tells of its progress is recorded in the log once in so many ms at most.
    pub progress_ms: u32,
}

/// When a run gets a duplicate, because its task may be late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TailPolicy {
    /// Part of the time between its lease and the task's due time after which a run that does not tell how far it is counts
    /// as in danger, in parts per million.
    pub after_ppm: u32,
    /// By so much the duplicate's node is faster than the run's, where speeds are known, in parts per million.
    pub faster_ppm: u32,
    /// Tasks in danger that one plan looks at; where there are more, others with each second.
    pub looks_max: u32,
}

/// How nodes are ranked for a task that is not replicated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorePolicy {
    /// Weight of the reliability on the type of task.
    pub reliability_weight: u32,
    /// Weight of the owner's compute points.
    pub points_weight: u32,
    /// Weight of the idle part of the node's slots.
    pub idle_weight: u32,
    /// Points at which the points' part is one half.
    pub points_half: String,
    /// Nodes at most so many levels below the best one are its near-equals.
    pub near_levels: u32,
    /// Levels that a node gains which has the task's largest input already.
    pub cached_levels: u32,
    /// Bytes that this input has at least.
    pub cached_bytes_min: String,
    /// Blobs of which the platform remembers that a node has them.
    pub cached_blobs_max: u32,
    /// Levels that a node gains which is fast enough for the task's `max_latency_ms`.
    pub in_time_levels: u32,
    /// Levels that a node gains which asks nothing for the type of task; one that asks for a part of its price gains less.
    pub price_levels: u32,
}

/// What one account may have at once, and its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountLimits {
    /// Its share of the nodes' time relative to other requesters that wait; 1 to 10,000.
    pub weight: u32,
    /// Its tasks that have not ended.
    pub tasks_max: u32,
    /// Its replicas that hold a slot of a node.
    pub running_max: u32,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedPolicy {
    /// From 1.
    pub version: u32,
    pub policy: Policy,
}
