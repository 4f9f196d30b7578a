//! Epochs: draws are made in one, and with each that closes nodes' outcomes fade. And what requesters have used.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Fading;
use crate::{digest::Digest, policy::AccountLimits};

/// The epochs so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Epochs {
    /// The number of the last one that was opened; 0 before the first.
    pub last: u32,
    pub open: Option<OpenEpoch>,
    /// By how much nodes' outcomes fade.
    pub fading: Fading,
    /// By how much points have.
    pub points: Fading,
    pub sweep: Sweep,
}

/// Brings the records that placement ranks by up to date, some nodes at a time and in turn, so that no event costs more
/// because there are many nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// The ordinal of the node that is next.
    pub next: u32,
    /// Nodes whose turn has not come since the last epoch closed.
    pub left: u32,
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
    /// What it has used of the nodes by runs that have ended, in thousandths of a ms of one slot divided by its weight. Who was away, or
    /// could not be served, begins where the others are.
    pub used: u64,
    /// What its runs under way have reserved, in the same unit.
    pub reserved: u64,
    /// Replicas that hold a slot.
    pub running: u32,
}

impl Requester {
    /// By which requesters take turns, the least first: what it has used, and may still use by what runs.
    pub fn turn(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }
}
