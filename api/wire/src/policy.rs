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
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedPolicy {
    /// From 1.
    pub version: u32,
    pub policy: Policy,
}
