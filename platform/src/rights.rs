//! Who may give which command.
//!
//! The server knows a caller by its API key and what the key's scopes open; here stands what must hold whoever lets a
//! command in, so that an audit can tell it from the log alone: nobody acts for somebody else.

use std::{fmt, str::FromStr};

use crate::{
    command::Command,
    ids::{AccountId, NodeId},
    rejection::Rejection,
    state::State,
};

/// Who gave a command, as envelopes name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The platform's own process: its set-up, its driver, and joins, which a token authorises.
    System,
    Account(AccountId),
    Node(NodeId),
}

/// Text that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an actor is `system`, `account/<id>` or `node/<id>`")]
pub struct NotAnActor;

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Account(id) => write!(f, "account/{id}"),
            Self::Node(id) => write!(f, "node/{id}"),
        }
    }
}

impl FromStr for Actor {
    type Err = NotAnActor;
    fn from_str(text: &str) -> Result<Self, NotAnActor> {
        match text.split_once('/') {
            None if text == "system" => Ok(Self::System),
            Some(("account", id)) => id.parse().map(Self::Account).map_err(|_| NotAnActor),
            Some(("node", id)) => id.parse().map(Self::Node).map_err(|_| NotAnActor),
            None | Some(_) => Err(NotAnActor),
        }
    }
}

/// Who may give a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Giver {
    /// Nobody but the platform's own process.
    System,
    /// The platform's own process, and accounts with a live key of scope `admin`.
    Operator,
    /// The account that it is about, and nobody for it.
    Account(AccountId),
    /// The node that it is about.
    Node(NodeId),
    /// That node, or the platform that no longer hears of it.
    NodeOrSystem(NodeId),
}

impl Giver {
    /// Of a command.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::AdoptPolicy(_) | Command::OpenAccount(_) | Command::Deposit { .. } => {
                Self::Operator
            }
            Command::AddKey(c) => Self::Account(c.account),
            Command::RevokeKey { account, .. }
            | Command::IssueJoinToken { account, .. }
            | Command::RecordUpload { account, .. } => Self::Account(*account),
            Command::RegisterModule(c) => Self::Account(c.owner),
            Command::RegisterContent(c) => Self::Account(c.owner),
            Command::SubmitTask { requester, .. } | Command::CancelTask { requester, .. } => {
                Self::Account(*requester)
            }
            Command::RegisterNode(_)
            | Command::Plan
            | Command::Tick
            | Command::LoseLease { .. } => Self::System,
            Command::SetAvailability { node, .. } => Self::NodeOrSystem(*node),
            Command::Start { node, .. }
            | Command::ReportProgress { node, .. }
            | Command::SaveCheckpoint { node, .. }
            | Command::RecordOutput { node, .. }
            | Command::Commit { node, .. }
            | Command::Reveal { node, .. }
            | Command::Fail { node, .. } => Self::Node(*node),
        }
    }

    /// Refuses every other actor.
    ///
    /// # Errors
    /// [`Rejection::NotPermitted`].
    pub(crate) fn admit(self, state: &State, actor: &str) -> Result<(), Rejection> {
        let permitted = match (self, actor.parse()) {
            (Self::System | Self::Operator | Self::NodeOrSystem(_), Ok(Actor::System)) => true,
            (Self::Operator, Ok(Actor::Account(account))) => state.is_admin(account),
            (Self::Account(account), Ok(Actor::Account(by))) => account == by,
            (Self::Node(node) | Self::NodeOrSystem(node), Ok(Actor::Node(by))) => node == by,
            (Self::System, Ok(Actor::Account(_) | Actor::Node(_)))
            | (Self::Operator, Ok(Actor::Node(_)))
            | (Self::Account(_), Ok(Actor::System | Actor::Node(_)))
            | (Self::Node(_), Ok(Actor::System | Actor::Account(_)))
            | (Self::NodeOrSystem(_), Ok(Actor::Account(_)))
            | (_, Err(NotAnActor)) => false,
        };
        if permitted {
            Ok(())
        } else {
            Err(Rejection::NotPermitted {
                actor: actor.to_owned(),
            })
        }
    }

    /// Who gives it where nobody has to act for anybody.
    pub(crate) fn usual(self) -> Actor {
        match self {
            Self::System | Self::Operator => Actor::System,
            Self::Account(account) => Actor::Account(account),
            Self::Node(node) | Self::NodeOrSystem(node) => Actor::Node(node),
        }
    }
}
