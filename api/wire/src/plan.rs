//! Before a task runs: what it would cost, and why it waits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ContentPrice;

/// Why nodes can't take a waiting replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Such as `offline`, `draining`, `suspended`, `no-runs`, `no-free-slot`, `hours`, `price`, `no-ask`, `no-gpu`, `gpu-class`,
    /// `class-too-small`, `own-node`, `same-owner`, `already-tried`, `backing-off`, `reserved`, `unstaked`; `requester-suspended`, `module-suspended` or
    /// `content-suspended` for all of them; `eligible` for nodes that can take it.
    pub reason: String,
    pub nodes: u32,
}

/// What a task would cost and when it would be done, by what waits and what nodes there are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// What it costs where the first replicas agree, with all shares, in micro-AEV: at the mean of what the nodes that fit ask for (others'
    /// asks rounded up to powers of two) or by `qos.expected_fuel`, where the price goes by either.
    pub expected_fee: String,
    /// What is locked at submission: the most that it can cost, in micro-AEV.
    pub escrow: String,
    /// Part of both: what the contents that it uses cost, each that costs something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<ContentPrice>,
    /// All of them together, in micro-AEV: as `economics.contents_max` it has a submission refused that would cost more for them by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents_max: Option<String>,
    /// What the requester has, in micro-AEV.
    pub available: String,
    /// Whether that covers the escrow.
    pub affordable: bool,
    /// Nodes whose machine, terms and owner fit for certain, busy or not, among those looked at. Of others' nodes sizes, speeds and asks
    /// count as powers of two.
    pub eligible_nodes: u32,
    /// Further nodes that may fit: what they have is between the same two powers of two as what the task needs.
    #[serde(default)]
    pub borderline_nodes: u32,
    /// Of them, those that could begin at once.
    pub free_nodes: u32,
    /// How many of the others each filter refuses first, whatever they are doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Waiting>,
    /// All that is in the way of the node that lacks least, of those that do not fit for certain; nothing where all do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Remedy>,
    pub nodes_looked_at: u32,
    pub nodes: u32,
    /// Tasks with equal needs that wait before it.
    pub tasks_ahead: u32,
    /// Absent where no node fits for certain, or it waits for other tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Whether its first replicas run at once, for one after the other could be later than `max_latency_ms` or `deadline` allow.
    #[serde(default)]
    pub at_once: bool,
    /// The latest end of its first replicas, where the first one begins then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finishes_by: Option<String>,
}

/// Why a task waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    pub id: String,
    /// The task's state.
    pub state: String,
    /// `dependencies`, `node`, `room`, `turn`, `quota`, `release`, `commitment`, `runs`, `reveals` or `nothing`.
    pub waits_for: String,
    /// The assignments whose commitments the next replica waits for: replicas are drawn one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<String>,
    /// When those that wait are placed at once, so that the task is not late for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once_from: Option<String>,
    pub nodes: u32,
    pub nodes_looked_at: u32,
    /// Nodes that could take it now.
    pub fitting: u32,
    /// How many of the others each filter refuses first.
    pub refused: Vec<Waiting>,
    /// All that is in the way of the node that lacks least.
    pub nearest: Vec<Remedy>,
}

/// What is in a node's way, and what would help. Sizes are rounded down to a power of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remedy {
    /// As [`Waiting::reason`].
    pub reason: String,
    pub help: String,
}
