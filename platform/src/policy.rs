//! The constants of the market. They live in `policy.adopted` events, so that a replay uses those of its time.

mod compute;
mod contents;
mod rewards;
mod scheduling;
mod settlement;
mod stake;
mod verification;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Points, Ppm};

pub use compute::ComputePolicy;
pub use contents::ContentsPolicy;
pub use rewards::RewardsPolicy;
pub use scheduling::{
    AccountLimits, LeasePolicy, ReservePolicy, ReturnPolicy, SCORE_LEVELS, SLOTS_MAX,
    SchedulingPolicy, ScorePolicy, TailPolicy,
};
pub use settlement::SettlementPolicy;
pub use stake::StakePolicy;
pub use verification::{AdaptivePolicy, Reveals, VerificationPolicy};

/// Who may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// Strangers: a task never runs on its requester's node, nor twice with one owner.
    Open,
    /// One owner runs everything: those owner filters are off, and settlements say so.
    Private,
}

/// One version of the market's constants. A task keeps the version under which it was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub market: Market,
    /// Content share on top of the compute fee, when a task uses contents.
    pub content_share_ppm: Ppm,
    /// Platform share on top of the compute fee.
    pub platform_share_ppm: Ppm,
    /// Paid for work that ends without a verdict for or against it.
    pub attempt_fee: Amount,
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

/// How IntelliPoints are earned and lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointsPolicy {
    /// Points minted per million micro-AEV of platform share, over all tracks.
    pub per_aev_of_platform_share: u32,
    /// Part of them that goes to the content track when contents were used.
    pub content_ppm: Ppm,
    /// A refused result costs at least this many points ...
    pub refused_min: Points,
    /// ... and at least this part of the owner's compute points; never more than there are.
    pub refused_ppm: Ppm,
    /// A lost lease costs this many points; never more than there are.
    pub lost: Points,
    /// What is earned of the points of a result that was accepted alone: its quality is its node's word.
    pub unrepeated_ppm: Ppm,
    /// What is earned of the points of a result that came later than the task's `max_latency_ms` after its lease.
    pub late_ppm: Ppm,
    /// What part of all points is kept when an epoch closes; all of it is 1,000,000.
    pub keep_ppm: Ppm,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            market: Market::Open,
            content_share_ppm: 100_000,
            platform_share_ppm: 50_000,
            attempt_fee: Amount(1_000),
            lease_ms: 15_000,
            accept_ms: 30_000,
            reveal_ms: 30_000,
            offline_ms: 45_000,
            backoff_ms: 5_000,
            backoff_max_ms: 600_000,
            points: PointsPolicy {
                per_aev_of_platform_share: 1_000,
                content_ppm: 200_000,
                refused_min: Points(50),
                refused_ppm: 500_000,
                lost: Points(2),
                unrepeated_ppm: 500_000,
                late_ppm: 500_000,
                // With epochs of an hour half of them are gone after 692 of them, 29 days.
                keep_ppm: 999_000,
            },
            scheduling: SchedulingPolicy::default(),
            settlement: SettlementPolicy::default(),
            stake: StakePolicy::default(),
            rewards: RewardsPolicy::default(),
            verification: VerificationPolicy::default(),
            contents: ContentsPolicy::default(),
        }
    }
}

impl Policy {
    /// Only quorums with stake behind them decide, where the task asks for that. Names cost nothing in a market of strangers.
    pub fn asks_for_stake(&self) -> bool {
        self.market == Market::Open && self.verification.staked_votes > 0
    }

    /// Whether a verdict blames the nodes whose results differ from it: of samples, where it has the stake behind it that the policy
    /// asks for, and where its requester did not choose [by what they say of themselves](crate::definition::TaskDefinition::is_narrowed) who may be drawn.
    pub fn blames(&self, is_sampled: bool, asks_for_stake: bool, is_narrowed: bool) -> bool {
        let is_chosen = is_narrowed && self.market == Market::Open;
        !is_sampled || !is_chosen && (!self.asks_for_stake() || asks_for_stake)
    }

    /// For a platform whose owner runs everything on it: no owner filters, and no dispute window, since there is nobody to
    /// dispute with; and what a node says of its slots and its GPU is taken for true, and what it finishes counts for it, whatever it earns.
    pub fn private() -> Self {
        Self {
            market: Market::Private,
            settlement: SettlementPolicy::IMMEDIATE,
            scheduling: SchedulingPolicy {
                unproven_slots: SLOTS_MAX,
                record_pay_min: Amount::ZERO,
                compute: ComputePolicy {
                    check_ms: 0,
                    ..ComputePolicy::default()
                },
                ..SchedulingPolicy::default()
            },
            ..Self::default()
        }
    }
}
