//! Epochs of draws, and what requesters have used.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, policy::AccountLimits};

/// The epochs so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Epochs {
    /// The number of the last one that was opened; 0 before the first.
    pub last: u32,
    pub open: Option<OpenEpoch>,
}

/// The epoch that draws are made in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenEpoch {
    /// From 1.
    pub number: u32,
    /// What its secret will be, as a hash.
    pub commitment: Digest,
    pub opened_at: Timestamp,
}

/// An account as a requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Requester {
    /// What an administrator gave it; the policy's otherwise.
    pub limits: Option<AccountLimits>,
    /// What it has used of the nodes, in thousandths of a ms of one slot divided by its weight. Whoever has used least is
    /// served first; who was away begins where the others are.
    pub used: u64,
    /// Replicas that hold a slot.
    pub running: u32,
}
