//! A verdict that is looked at again: what a task knows of it, and what the task knows that does the looking.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    event::{Payer, ReviewCause, ReviewOutcome},
    ids::{AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    report::{BlobRef, Report},
};

/// Whether a task's verdict is, or was, looked at again. Once at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "review", rename_all = "kebab-case")]
pub enum Review {
    None,
    /// It rests on one word of a node that was caught meanwhile; a tick has it looked at.
    Due {
        node: NodeId,
    },
    /// Another task runs it again.
    Open {
        by: TaskId,
        cause: ReviewCause,
    },
    Ended {
        by: TaskId,
        cause: ReviewCause,
        outcome: ReviewOutcome,
    },
}

impl Review {
    /// The verdict's money waits for it.
    pub fn is_awaited(&self) -> bool {
        match self {
            Self::Due { .. } | Self::Open { .. } => true,
            Self::None | Self::Ended { .. } => false,
        }
    }

    /// The task that runs, or ran, it again.
    pub fn by(&self) -> Option<TaskId> {
        match self {
            Self::Open { by, .. } | Self::Ended { by, .. } => Some(*by),
            Self::None | Self::Due { .. } => None,
        }
    }
}

/// What a task reviews, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewOf {
    pub task: TaskId,
    /// Who put its escrow up, and gets back what it does not cost.
    pub payer: Payer,
    /// Nodes with a result in the reviewed task: neither they nor their owners' others run it again.
    pub involved: Vec<NodeId>,
    /// The class of GPU that the reviewed result is of.
    pub class: Option<String>,
    /// What the reviewed results agree on; of a run that went on from a checkpoint its work, for its fuel is only of the rest.
    pub reviewed: Digest,
    pub is_resumed: bool,
    /// The checkpoint of a run from zero on which the reviewed result rests, where another node had made any before it: every run from
    /// zero makes the same, so that one which no fresh run makes is bad.
    pub expects: Option<Expected>,
    /// The reviewed result is one of those that are compared: the sample goes on where it stood.
    pub counts: bool,
}

/// A checkpoint that runs from zero are to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The run that saved it.
    pub by: AssignmentId,
    pub blob: BlobRef,
}

impl ReviewOf {
    /// Whether a fresh report says what the reviewed results agree on.
    pub fn is_said_by(&self, report: &Report) -> bool {
        let said = if self.is_resumed {
            report.work_key()
        } else {
            report.agreement_key()
        };
        said == self.reviewed
    }
}

impl Payer {
    /// The ledger account that pays.
    pub fn account(self) -> LedgerAccount {
        match self {
            Self::Account(account) => LedgerAccount::Available(account),
            Self::Stake(node) => LedgerAccount::Stake(node),
        }
    }
}
