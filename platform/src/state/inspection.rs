//! A result that verifiers look at before its verdict: what its task knows of that, and what the task knows that they work on.

use serde::{Deserialize, Serialize};

use super::{Phase, Task};
use crate::{
    amount::Amount,
    digest::Digest,
    event::{InspectionOutcome, Track},
    ids::{AssignmentId, NodeId, TaskId},
};

/// One look at a task's result, by the verifiers of one of its methods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The task that the verifiers work on.
    pub by: TaskId,
    /// The method that asks for it: its place in the definition's `verification`.
    pub method: u32,
    /// Of the results that agree, the one that is handed to the verifiers.
    pub assignment: AssignmentId,
    /// What of the task's escrow it got.
    pub escrow: Amount,
    /// What the verifiers say; nothing as long as they work.
    pub outcome: Option<InspectionOutcome>,
}

/// Whose result a task of verifiers looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectionOf {
    pub task: TaskId,
    pub method: u32,
    /// Nodes with a result in that task: neither they nor their owners' others are drawn. Nobody in a private market.
    pub involved: Vec<NodeId>,
    /// The class of GPU that a fresh run is compared on.
    pub class: Option<String>,
    /// What the inspected results agree on.
    pub agreed: Digest,
}

impl Task {
    /// All verifiers have said what they have to say, and the verdict is due.
    pub fn is_inspected(&self) -> bool {
        self.phase == Phase::Inspecting && self.inspections.iter().all(|i| i.outcome.is_some())
    }

    /// What its escrow holds as long as it is not settled: what was locked, without what its verifiers' tasks got.
    pub fn held(&self) -> Amount {
        let passed_on: i64 = self.inspections.iter().map(|i| i.escrow.0).sum();
        Amount(self.escrow.0 - passed_on)
    }

    /// The track on which its results earn and lose points.
    pub fn track(&self) -> Track {
        match self.inspects {
            Some(_) => Track::Verification,
            None => Track::Compute,
        }
    }

    /// Nodes that count as if they had a replica of it: those whose results it looks at.
    pub(crate) fn involved(&self) -> impl Iterator<Item = NodeId> + '_ {
        let reviewed = self.review_of.iter().flat_map(|of| &of.involved);
        let inspected = self.inspects.iter().flat_map(|of| &of.involved);
        reviewed.chain(inspected).copied()
    }

    /// The class of GPU that its results are to be of, for they are compared with another task's.
    pub(crate) fn bound_class(&self) -> Option<&str> {
        let reviewed = self.review_of.as_ref().and_then(|of| of.class.as_deref());
        let inspected = self.inspects.as_ref().and_then(|of| of.class.as_deref());
        reviewed.or(inspected)
    }
}
