//! One node's try at one task.

use std::sync::Arc;

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{node::Room, record::HardwareClass};
use crate::{
    amount::{Amount, Count, Ppm},
    closed::{Closed, ClosedOutput},
    command::{FailureClass, LossReason},
    digest::Digest,
    event::{CheckResult, RefusalReason},
    ids::{AssignmentId, NodeId},
    report::{BlobRef, Report},
};

/// An assignment: `leased -> running -> committed -> revealed -> accepted | refused`, or it is lost, fails, is given back or
/// is withdrawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub id: AssignmentId,
    pub node: NodeId,
    pub round: u32,
    pub leased_at: Timestamp,
    /// The hardware that it was leased for: its outcome counts for the node on this, whatever the node is later.
    pub hardware: HardwareClass,
    /// Runs that its node had with it when it began; 0 before.
    pub abreast: u32,
    /// Slots of its node that it counts for, in thousandths: by the largest of its parts of the node as that was at its lease.
    pub slots_milli: u64,
    /// What its requester was charged for all that it reserved; at its end it is what it held.
    pub charged: u64,
    /// What it holds of the node beside its run's room until that begins: memory for compiling the module.
    pub compiling: Room,
    /// When the node began to run it.
    pub started_at: Option<Timestamp>,
    /// The checkpoint that it resumes from.
    pub resume: Option<BlobRef>,
    /// The node that made that checkpoint; absent where the log of old has none.
    pub author: Option<NodeId>,
    /// The run that saved it.
    pub resumed_run: Option<AssignmentId>,
    /// It made the checkpoint that runs from zero are to make.
    pub has_remade: bool,
    /// The run that it duplicates, because the task may be late.
    pub doubles: Option<AssignmentId>,
    /// It had begun when another result was taken for its replica: it earns the attempt fee.
    pub overtaken: bool,
    /// What it earns if it is accepted in time; the most that it can earn where that goes by what it uses.
    pub price: Amount,
    /// Of its node's stake, what is locked for it.
    pub stake: Amount,
    /// At its lease the node had as much stake free as the policy asks for.
    pub is_staked: bool,
    /// What the node uploaded under it.
    pub uploads: Vec<BlobRef>,
    /// The same of a sample's replica, as far as can be told before the verdict.
    pub closed_outputs: Vec<ClosedOutput>,
    /// What its node keeps of its result, in MiB: from the commitment until that is opened, or the task has ended.
    pub sealed_mib: u64,
    pub stage: Stage,
}

/// Where an assignment stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Stage {
    /// The node has it, but has not begun.
    Leased,
    Running {
        ppm: Ppm,
        note: String,
        /// When it was reported last; its begin before that.
        at: Timestamp,
    },
    Committed(Commitment),
    /// Revealed, and closed until the verdict.
    Shown(Shown),
    Revealed(Revealed),
    Accepted(Revealed),
    Refused {
        reason: RefusalReason,
        commitment: Commitment,
        /// What it revealed, where it did.
        report: Option<Arc<Report>>,
    },
    Lost {
        reason: LossReason,
        at: Timestamp,
    },
    Failed {
        class: FailureClass,
        message: String,
        at: Timestamp,
    },
    /// Given back by a node that stops.
    Returned {
        /// It spent an attempt and counted as a fault of the node.
        counted: bool,
        at: Timestamp,
    },
    Withdrawn,
}

/// A sealed result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    pub digest: Digest,
    pub at: Timestamp,
    /// Of the time since the lease, in ms, for how long there was no leader to take it.
    pub absent_ms: Count,
}

/// A result that the platform has and nobody can read yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    pub commitment: Commitment,
    pub closed: Closed,
}

/// An opened result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revealed {
    pub commitment: Commitment,
    pub report: Arc<Report>,
    /// The contract checks on this result.
    pub checks: Vec<CheckResult>,
    /// What the task's terms make public of it.
    pub published: Option<Value>,
}

impl Assignment {
    /// The replica that it makes: its own, or that of the run which it duplicates. A slot brings one result.
    pub fn slot(&self) -> AssignmentId {
        self.doubles.unwrap_or(self.id)
    }

    /// It has stake behind it: as much as the policy asks for was free at its lease, and its price is above zero.
    pub fn is_backed(&self) -> bool {
        self.is_staked && self.price > Amount::ZERO
    }

    /// The class that it failed in, if it did.
    pub fn failure(&self) -> Option<FailureClass> {
        match &self.stage {
            Stage::Failed { class, .. } => Some(*class),
            Stage::Leased
            | Stage::Running { .. }
            | Stage::Committed(_)
            | Stage::Shown(_)
            | Stage::Revealed(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => None,
        }
    }

    /// It ended because of its node: lost, given back, or failed for the machine's sake.
    pub fn is_nodes_fault(&self) -> bool {
        matches!(self.stage, Stage::Lost { .. } | Stage::Returned { .. })
            || self.failure().is_some_and(|class| !class.blames_module())
    }

    /// Holds one of the node's slots: leased or running.
    pub fn is_active(&self) -> bool {
        match &self.stage {
            Stage::Leased | Stage::Running { .. } => true,
            Stage::Committed(_)
            | Stage::Shown(_)
            | Stage::Revealed(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => false,
        }
    }

    /// Outputs may come from the run's begin to the reveal.
    pub fn may_upload(&self) -> bool {
        match &self.stage {
            Stage::Running { .. } | Stage::Committed(_) => true,
            Stage::Leased
            | Stage::Shown(_)
            | Stage::Revealed(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => false,
        }
    }

    /// Counts as one of the task's replicas: it may still bring a result, or brought one.
    pub fn is_replica(&self) -> bool {
        match &self.stage {
            Stage::Leased
            | Stage::Running { .. }
            | Stage::Committed(_)
            | Stage::Shown(_)
            | Stage::Revealed(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. } => true,
            Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => false,
        }
    }

    /// The result, where it was opened and has no verdict yet.
    pub(crate) fn opened(&self) -> Option<&Revealed> {
        match &self.stage {
            Stage::Revealed(revealed) => Some(revealed),
            Stage::Leased
            | Stage::Running { .. }
            | Stage::Committed(_)
            | Stage::Shown(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => None,
        }
    }

    /// The commitment, where one was made.
    pub fn commitment(&self) -> Option<Commitment> {
        match &self.stage {
            Stage::Committed(commitment) | Stage::Refused { commitment, .. } => Some(*commitment),
            Stage::Shown(shown) => Some(shown.commitment),
            Stage::Revealed(revealed) | Stage::Accepted(revealed) => Some(revealed.commitment),
            Stage::Leased
            | Stage::Running { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => None,
        }
    }

    /// The state's public name.
    pub fn state_name(&self) -> &'static str {
        match &self.stage {
            Stage::Leased => "leased",
            Stage::Running { .. } => "running",
            Stage::Committed(_) => "committed",
            Stage::Shown(_) | Stage::Revealed(_) => "revealed",
            Stage::Accepted(_) => "accepted",
            Stage::Refused { .. } => "refused",
            Stage::Lost { .. } => "lost",
            Stage::Failed { .. } => "failed",
            Stage::Returned { .. } => "returned",
            Stage::Withdrawn => "withdrawn",
        }
    }
}
