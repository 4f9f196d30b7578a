//! Who may give which command.
//!
//! The server knows a caller by its API key and what the key's scopes open; here stands what must hold whoever lets a
//! command in, so that an audit can tell it from the log alone: nobody acts for somebody else.

use std::{fmt, str::FromStr};

use crate::{
    command::{Availability, Command, Scope},
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
        let actor = match text.split_once('/') {
            None if text == "system" => Self::System,
            Some(("account", id)) => Self::Account(id.parse().map_err(|_| NotAnActor)?),
            Some(("node", id)) => Self::Node(id.parse().map_err(|_| NotAnActor)?),
            None | Some(_) => return Err(NotAnActor),
        };
        // A ULID is also read in lower case; an actor has one name, for command ids hash it.
        if actor.to_string() == text {
            Ok(actor)
        } else {
            Err(NotAnActor)
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
    /// The account that it is about, with a live key of one of these scopes. Which key it was the log does not say.
    Account(AccountId, &'static [Scope]),
    /// The node that it is about.
    Node(NodeId),
    /// That node, or the platform that no longer hears of it.
    NodeOrSystem(NodeId),
    /// That node, or its owner.
    Keeper(NodeId),
    /// The owner of that node, or who runs the platform.
    OwnerOrOperator(NodeId),
}

impl Giver {
    /// Of a command.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::AdoptPolicy(_)
            | Command::OpenAccount(_)
            | Command::SetLimits { .. }
            | Command::Deposit { .. }
            | Command::PayWithdrawal { .. }
            | Command::RefuseWithdrawal { .. }
            | Command::Suspend { .. }
            | Command::Release { .. } => Self::Operator,
            Command::AddKey(c) => Self::Account(c.account, &[Scope::KeysWrite]),
            Command::RevokeKey { account, .. } => Self::Account(*account, &[Scope::KeysWrite]),
            // Such a key can make any other key of the account.
            Command::RequestWithdrawal { account, .. } => {
                Self::Account(*account, &[Scope::KeysWrite])
            }
            // Whoever can earn points.
            Command::ClaimRewards { account } => {
                Self::Account(*account, &[Scope::NodesWrite, Scope::ContentsWrite])
            }
            Command::IssueJoinToken { account, .. } => {
                Self::Account(*account, &[Scope::NodesWrite])
            }
            Command::Stake { account, .. } | Command::Unstake { account, .. } => {
                Self::Account(*account, &[Scope::NodesWrite])
            }
            Command::RecordUpload { account, .. } => {
                Self::Account(*account, &[Scope::ContentsWrite, Scope::TasksWrite])
            }
            Command::RegisterModule(c) => Self::Account(c.owner, &[Scope::TasksWrite]),
            Command::RegisterContent(c) => Self::Account(c.owner, &[Scope::ContentsWrite]),
            Command::ChangeContentTerms { owner, .. } => {
                Self::Account(*owner, &[Scope::ContentsWrite])
            }
            Command::SubmitTask { requester, .. } | Command::CancelTask { requester, .. } => {
                Self::requester(*requester)
            }
            Command::Dispute { account, .. } => {
                Self::Account(*account, &[Scope::TasksWrite, Scope::NodesWrite])
            }
            // A join is authorised by its token.
            Command::RegisterNode(_)
            | Command::CheckCompute(_)
            | Command::Plan
            | Command::Tick
            | Command::LoseLease { .. } => Self::System,
            Command::SetAvailability {
                node,
                availability: Availability::Online,
            } => Self::Node(*node),
            Command::SetAvailability {
                node,
                availability: Availability::Offline,
            } => Self::NodeOrSystem(*node),
            Command::ChangeTerms { node, .. }
            | Command::DrainNode { node }
            | Command::ResumeNode { node }
            | Command::LeaveMarket { node } => Self::Keeper(*node),
            Command::RevokeNode { node, .. } => Self::OwnerOrOperator(*node),
            Command::ChangeProfile { node, .. }
            | Command::RotateKey { node, .. }
            | Command::Start { node, .. }
            | Command::ReportProgress { node, .. }
            | Command::SaveCheckpoint { node, .. }
            | Command::RecordOutput { node, .. }
            | Command::Commit { node, .. }
            | Command::Reveal { node, .. }
            | Command::Fail { node, .. }
            | Command::GiveBack { node, .. } => Self::Node(*node),
        }
    }

    /// Of what is done with a task.
    pub(crate) fn requester(account: AccountId) -> Self {
        Self::Account(account, &[Scope::TasksWrite])
    }

    /// Refuses every other actor.
    ///
    /// # Errors
    /// [`Rejection::NotPermitted`].
    pub(crate) fn admit(self, state: &State, actor: &str) -> Result<(), Rejection> {
        let permitted = match (self, actor.parse()) {
            (
                Self::System | Self::Operator | Self::NodeOrSystem(_) | Self::OwnerOrOperator(_),
                Ok(Actor::System),
            ) => true,
            (Self::Operator, Ok(Actor::Account(account))) => operates(state, account),
            (Self::OwnerOrOperator(node), Ok(Actor::Account(account))) => {
                operates(state, account) || owns(state, account, node)
            }
            (Self::Keeper(node), Ok(Actor::Account(account))) => owns(state, account, node),
            (Self::Account(account, scopes), Ok(Actor::Account(by))) => {
                account == by && scopes.iter().any(|scope| state.has_scope(by, *scope))
            }
            (
                Self::Node(node) | Self::NodeOrSystem(node) | Self::Keeper(node),
                Ok(Actor::Node(by)),
            ) => {
                // Its keys are dead.
                if state.nodes.get(&by).is_some_and(|n| n.standing.is_gone()) {
                    return Err(Rejection::NodeGone);
                }
                node == by
            }
            (Self::System, Ok(Actor::Account(_) | Actor::Node(_)))
            | (Self::Operator | Self::OwnerOrOperator(_), Ok(Actor::Node(_)))
            | (Self::Account(..), Ok(Actor::System | Actor::Node(_)))
            | (Self::Node(_), Ok(Actor::System | Actor::Account(_)))
            | (Self::NodeOrSystem(_), Ok(Actor::Account(_)))
            | (Self::Keeper(_), Ok(Actor::System))
            | (_, Err(NotAnActor)) => false,
        };
        if permitted {
            Ok(())
        } else {
            Err(Rejection::NotPermitted {
                actor: actor.to_owned(),
                giver: self.to_string(),
            })
        }
    }

    /// Who gives it where nobody has to act for anybody.
    pub(crate) fn usual(self) -> Actor {
        match self {
            Self::System | Self::Operator | Self::OwnerOrOperator(_) => Actor::System,
            Self::Account(account, _) => Actor::Account(account),
            Self::Node(node) | Self::NodeOrSystem(node) | Self::Keeper(node) => Actor::Node(node),
        }
    }
}

/// Runs the platform. Not while it is suspended itself.
fn operates(state: &State, account: AccountId) -> bool {
    state.has_scope(account, Scope::Admin) && state.suspension(account).is_none()
}

/// Owns the node, and may look after it.
fn owns(state: &State, account: AccountId, node: NodeId) -> bool {
    let owner = state.nodes.get(&node).map(|node| node.owner);
    owner == Some(account) && state.has_scope(account, Scope::NodesWrite)
}

impl fmt::Display for Giver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the platform itself"),
            Self::Operator => {
                f.write_str("the platform itself or an account with a live key of scope `admin`")
            }
            Self::Account(account, scopes) => {
                let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
                let names = names.join("` or `");
                write!(
                    f,
                    "{} with a live key of scope `{names}`",
                    Actor::Account(*account)
                )
            }
            Self::Node(node) => Actor::Node(*node).fmt(f),
            Self::NodeOrSystem(node) => write!(f, "{} or the platform itself", Actor::Node(*node)),
            Self::Keeper(node) => write!(
                f,
                "{} or its owner with a live key of scope `nodes:write`",
                Actor::Node(*node)
            ),
            Self::OwnerOrOperator(node) => write!(
                f,
                "the owner of {} with a live key of scope `nodes:write`, the platform itself or an account with a live key of scope `admin`",
                Actor::Node(*node)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_named_as_it_is_written() {
        for scope in [
            Scope::Read,
            Scope::TasksWrite,
            Scope::ContentsWrite,
            Scope::NodesWrite,
            Scope::KeysWrite,
            Scope::Node,
            Scope::Audit,
            Scope::Admin,
        ] {
            assert_eq!(serde_json::to_value(scope).ok(), Some(scope.name().into()));
        }
    }

    #[test]
    fn an_actor_has_one_name() {
        for good in [
            "system",
            "account/01HF7YAT00ZZZZZZZZZZZZZZZZ",
            "node/01HF7YAT00ZZZZZZZZZZZZZZZZ",
        ] {
            let actor: Result<Actor, _> = good.parse();
            assert_eq!(actor.map(|actor| actor.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "System",
            "system/",
            "account/",
            "account/01hf7yat00zzzzzzzzzzzzzzzz",
            "task/01HF7YAT00ZZZZZZZZZZZZZZZZ",
            "node/01HF7YAT00ZZZZZZZZZZZZZZZZ/",
        ] {
            assert_eq!(bad.parse::<Actor>(), Err(NotAnActor), "{bad}");
        }
    }
}
