//! What a node's operator and the market's administrators decide about a node: its terms, whether it takes part, its key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::node::NodeProfile;

/// On which terms a node is offered. `PUT /v1/nodes/{id}/terms`. What is left out is not restricted; all of it holds for what
/// is placed from then on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTerms {
    #[serde(default, skip_serializing_if = "NodeCaps::is_none")]
    pub caps: NodeCaps,
    /// When the node takes work: at most 64 windows of the week, in their order, none touching the next. Empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Window>,
    /// The least that one replica must earn, in micro-AEV, by type of task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asks: BTreeMap<String, String>,
    /// Whose tasks it takes, by account; at most 256 in each list.
    #[serde(default, skip_serializing_if = "AllowDeny::is_any")]
    pub requesters: AllowDeny,
    /// Which modules it runs, by digest; at most 256 in each list.
    #[serde(default, skip_serializing_if = "AllowDeny::is_any")]
    pub modules: AllowDeny,
}

/// How much of the machine may be used, where that is less than it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeCaps {
    /// Cores. A run takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<u32>,
    /// Memory of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Memory of the GPU of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory_mib: Option<u32>,
    /// Inputs and outputs of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_mib: Option<u32>,
    /// Runs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

/// A part of the week, in minutes since Monday 00:00 UTC: from `from_min`, to just before `to_min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// 0 to 10,079.
    pub from_min: u16,
    /// 1 to 10,080.
    pub to_min: u16,
}

/// Who or what is taken: everything in `allow`, or everything where that is empty, but for what stands in `deny`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowDeny {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

impl NodeCaps {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl AllowDeny {
    fn is_any(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// Puts money of its owner's up for a node's results, or takes it back. `POST /v1/nodes/{id}/stake` and `/unstake`, scope
/// `nodes:write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeStake {
    /// In micro-AEV, above zero.
    pub amount: String,
}

/// What a node's owner put up for its results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeStake {
    /// In micro-AEV.
    pub amount: String,
    /// Of it, what covers runs and results that have not matured.
    pub locked: String,
    /// Of it, what can be taken back.
    pub free: String,
    /// Refused results that still count against it.
    pub strikes: u32,
}

/// How fast a node is without its GPU, in millions of fuel units a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeSpeed {
    /// As its own probe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_mfuel_s: Option<u32>,
    /// As its accepted results showed at best.
    pub shown_mfuel_s: u32,
    /// Results that were long enough to tell; fewer than 8 do not count.
    pub samples: u32,
    /// What placement counts with: the lower of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_mfuel_s: Option<u32>,
    /// Its results show, again and again, less than half of what it claims.
    pub slower_than_claimed: bool,
}

/// How a node did on one type of task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeRecord {
    /// By the hardware that the runs used: `cpu`, or `gpu:` and the GPU's class.
    pub classes: BTreeMap<String, NodeTally>,
    /// Faults since the last good result; each doubles the back-off.
    pub faults_in_a_row: u32,
    /// Gets no such task before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_until: Option<String>,
}

/// A node's outcomes on one type of task and one class of hardware. They fade with every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeTally {
    /// In thousandths of an outcome.
    pub good_thousandths: u64,
    /// In thousandths of an outcome.
    pub bad_thousandths: u64,
    /// Lower confidence bound of the share of good results, in parts per million.
    pub reliability_ppm: u32,
}

/// How fast a node's GPU is, as the platform's checks showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCompute {
    /// The class of arithmetic throughput that it claims: class `n` is from 4^(n-1) to 4^n f32 GFLOP/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<u8>,
    /// The highest class that the best answer shows; absent before the first check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<u8>,
    /// Operations of that answer in millions a second, faded by those after it.
    pub shown_mflop_s: String,
    pub checks: u32,
    /// The last answer was wrong, and no right one came since: no class counts.
    pub wrong: bool,
    /// What placement counts with: the lower of claimed and shown; what is claimed before the first check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u8>,
    /// Less counts than it claims.
    pub slower_than_claimed: bool,
}

/// An administrator's stop to what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suspension {
    pub reason: String,
    pub since: String,
}

/// Shuts a node out for good: its leases are lost at once, its keys are dead. `POST /v1/nodes/{id}/revoke`, by its owner or
/// with the scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeNode {
    /// 1 to 400 printable characters.
    pub reason: String,
}

/// Gives the node another signing key and another API key. `POST /v1/node/key`, with the API key that it has until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// The Ed25519 public key from then on, in hex.
    pub public_key: String,
    /// SHA-256 of the API key's text from then on, in hex.
    pub key_hash: String,
    /// Signature over [`crate::rotation_message`] by the signing key before, in hex.
    pub signature: String,
}

/// The machine has changed. `PUT /v1/node/profile`, with the node's own API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProfile {
    pub profile: NodeProfile,
}

/// What is suspended or released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// By id.
    Account(String),
    /// By id.
    Node(String),
    /// By id.
    Content(String),
    /// By digest.
    Module(String),
}

/// Suspends or releases. `POST /v1/suspensions` and `POST /v1/releases`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    pub subject: Subject,
    /// 1 to 400 printable characters; it is in the log, and the suspended are told.
    pub reason: String,
}

/// A suspension in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suspended {
    pub subject: Subject,
    /// Its name, for people.
    pub name: String,
    pub reason: String,
    pub since: String,
}

/// The suspensions in force. `GET /v1/suspensions`, scope `admin` or `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuspensionList {
    pub suspensions: Vec<Suspended>,
}
