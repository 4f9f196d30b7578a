//! A result that verifiers look at before its verdict: what its task knows of that, and what the task knows that they work on.

use serde::{Deserialize, Serialize};

use super::{Phase, Task};
use crate::{
    amount::Amount,
    digest::Digest,
    event::{Compares, InspectionOutcome, Track},
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
    /// The result that it is compared with, where it is a comparison.
    pub against: Option<AssignmentId>,
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
    /// The two results that are compared, where it is a comparison.
    pub compares: Option<Compares>,
    /// Nodes with a result in that task: neither they nor their owners' others are drawn. Nobody in a private market.
    pub involved: Vec<NodeId>,
    /// The class of GPU that a fresh run is compared on.
    pub class: Option<String>,
    /// What the inspected results agree on; nothing of a comparison.
    pub agreed: Option<Digest>,
    /// What a result earns at most that its verifiers may refute, so that they pledge as for that. Nothing where they refute none.
    pub risk: Amount,
}

impl Task {
    /// All verifiers have said what they have to say, and the verdict is due.
    pub fn is_inspected(&self) -> bool {
        self.phase == Phase::Inspecting && self.inspections.iter().all(|i| i.outcome.is_some())
    }

    /// What verifiers looked at for methods that come after the sample's.
    pub fn is_looked_at(&self) -> bool {
        self.inspections.iter().any(|i| i.against.is_none())
    }

    /// Whether verifiers agree that two results do, that with the smaller id first; `None` where nobody was asked.
    pub(crate) fn compared(&self, (one, two): (AssignmentId, AssignmentId)) -> Option<bool> {
        let mut all = self.inspections.iter();
        let pair = all.find(|i| i.assignment == one && i.against == Some(two))?;
        // Who says nothing, or no one thing, does not say that they agree.
        Some(pair.outcome == Some(InspectionOutcome::Passed))
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

    /// The two results that its verifiers compare. They say yes or no, and nothing else of what they see: no output, metric, note or
    /// message of a comparison is kept.
    pub fn compares(&self) -> Option<Compares> {
        self.inspects.as_ref()?.compares
    }

    /// Nodes that count as if they had a replica of it: those whose results it looks at, and those that read results of it before a further
    /// replica was drawn.
    pub(crate) fn involved(&self) -> impl Iterator<Item = NodeId> + '_ {
        let reviewed = self.review_of.iter().flat_map(|of| &of.involved);
        let inspected = self.inspects.iter().flat_map(|of| &of.involved);
        let others = reviewed.chain(inspected);
        others.chain(&self.readers).copied()
    }

    /// What a result earns at most that it may refute.
    pub(crate) fn risk(&self) -> Amount {
        self.inspects.as_ref().map_or(Amount::ZERO, |of| of.risk)
    }

    /// The class of GPU that its results are to be of, for they are compared with another task's.
    pub(crate) fn bound_class(&self) -> Option<&str> {
        let reviewed = self.review_of.as_ref().and_then(|of| of.class.as_deref());
        let inspected = self.inspects.as_ref().and_then(|of| of.class.as_deref());
        reviewed.or(inspected)
    }
}
