//! The states of a task.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::CloseReason;

/// A task's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Phase {
    /// Waits for the tasks that it depends on.
    Created,
    /// Waits for nodes.
    Queued,
    Running,
    /// All replicas have committed; they reveal.
    Verifying {
        reveal_by: Timestamp,
    },
    /// Nodes agree on a result, and verifiers look at it.
    Inspecting,
    Settled {
        matured_at: Option<Timestamp>,
    },
    Unmet {
        matured_at: Option<Timestamp>,
    },
    /// Looked at again, and refuted or not confirmed: what was pending went back.
    Overturned,
    Inconclusive,
    Failed {
        detail: String,
    },
    Expired,
    Cancelled {
        detail: String,
    },
}

impl Phase {
    /// The state's public name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Verifying { .. } => "verifying",
            Self::Inspecting => "inspecting",
            Self::Settled { .. } => "settled",
            Self::Unmet { .. } => "unmet",
            Self::Overturned => "overturned",
            Self::Inconclusive => "inconclusive",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Nothing more will happen to its assignments.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Created
            | Self::Queued
            | Self::Running
            | Self::Verifying { .. }
            | Self::Inspecting => false,
            Self::Settled { .. }
            | Self::Unmet { .. }
            | Self::Overturned
            | Self::Inconclusive
            | Self::Failed { .. }
            | Self::Expired
            | Self::Cancelled { .. } => true,
        }
    }

    /// The phase that a close brings.
    pub fn closed(reason: CloseReason, detail: &str) -> Self {
        match reason {
            CloseReason::Cancelled => Self::Cancelled {
                detail: detail.into(),
            },
            CloseReason::DependencyFailed => Self::Cancelled {
                detail: detail.into(),
            },
            CloseReason::Expired => Self::Expired,
            CloseReason::AttemptsSpent => Self::Failed {
                detail: detail.into(),
            },
        }
    }
}
