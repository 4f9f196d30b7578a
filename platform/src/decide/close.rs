//! A task ends without a verdict: cancelled, expired, out of attempts, or without what it depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::Decision;
use crate::{
    amount::Amount,
    command::FailureClass,
    event::{
        AssignmentWithdrawn, CloseReason, Event, LedgerPosted, Posting, PostingReason, TaskClosed,
    },
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    rejection::Rejection,
    state::{Assignment, Phase, Stage, State, Task},
};

/// Nodes of distinct owners that must blame the module before their attempts are paid.
const BLAMING_OWNERS_MIN: usize = 2;

pub(super) fn cancel(state: &State, requester: AccountId, id: TaskId) -> Decision {
    let task = state.tasks.get(&id).filter(|t| t.requester == requester);
    let task = task.ok_or(Rejection::UnknownTask { task: id })?;
    match &task.phase {
        Phase::Created | Phase::Queued | Phase::Running => Ok(close(
            state,
            task,
            CloseReason::Cancelled,
            "cancelled by the requester",
            None,
            None,
        )),
        Phase::Verifying { .. } => Err(Rejection::TaskVerifying { task: id }),
        Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => Err(Rejection::TaskEnded { task: id }),
    }
}

/// Withdraws what is under way, pays for work done, and gives the rest back.
///
/// `ended` is an assignment that ends in the same batch, and `blame` the module-blaming failure it ended with.
pub(super) fn close(
    state: &State,
    task: &Task,
    reason: CloseReason,
    detail: &str,
    ended: Option<AssignmentId>,
    blame: Option<(NodeId, FailureClass)>,
) -> Vec<Event> {
    let live = task
        .assignments
        .values()
        .filter(|a| Some(a.id) != ended && a.is_replica());
    let mut events: Vec<Event> = live
        .map(|a| {
            AssignmentWithdrawn {
                task: task.id,
                assignment: a.id,
            }
            .into()
        })
        .collect();
    let fees = fees(state, task, reason, ended, blame);
    let fee = Amount(fees.values().map(|a| a.0).sum());
    let refund = Amount(task.escrow.0 - fee.0);
    if task.escrow > Amount::ZERO {
        let mut postings = vec![Posting {
            account: LedgerAccount::Escrow(task.id),
            amount: -task.escrow,
        }];
        postings.extend(fees.into_iter().map(|(owner, amount)| Posting {
            account: LedgerAccount::Available(owner),
            amount,
        }));
        if refund > Amount::ZERO {
            postings.push(Posting {
                account: LedgerAccount::Available(task.requester),
                amount: refund,
            });
        }
        let reason = PostingReason::Closure;
        events.push(
            LedgerPosted {
                reason,
                task: Some(task.id),
                reference: None,
                postings,
            }
            .into(),
        );
    }
    events.push(
        TaskClosed {
            task: task.id,
            reason,
            detail: detail.into(),
            fee,
            refund,
        }
        .into(),
    );
    events
}

/// What the nodes' owners get for work that ends without a verdict (see `docs/economics.md`):
/// a cancelled task pays the price for each run that has begun, as many as it wanted, and the attempt fee for more; an
/// expired or failed one pays the attempt fee for each committed result; a failed one also pays it for each
/// failure that blames the module, once nodes of two owners say the same.
fn fees(
    state: &State,
    task: &Task,
    reason: CloseReason,
    ended: Option<AssignmentId>,
    blame: Option<(NodeId, FailureClass)>,
) -> BTreeMap<AccountId, Amount> {
    let attempt = state.policy_of(task).attempt_fee;
    let price = task.definition.economics.pricing.max_price();
    let mut fees: BTreeMap<AccountId, Amount> = BTreeMap::new();
    let mut pay = |node: NodeId, amount: Amount| {
        if let Some(node) = state.nodes.get(&node).filter(|_| amount > Amount::ZERO) {
            let fee = fees.entry(node.owner).or_default();
            *fee = Amount(fee.0 + amount.0);
        }
    };
    // Who sealed a result in an earlier round and did not open it is owed nothing.
    let in_good_faith = |a: &&Assignment| {
        Some(a.id) != ended && !(matches!(a.stage, Stage::Committed(_)) && a.round < task.round)
    };
    let overtaken = task.assignments.values().filter(|a| a.overtaken);
    overtaken.for_each(|a| pay(a.node, attempt));
    let mut runs: Vec<&Assignment> = task.assignments.values().filter(in_good_faith).collect();
    // What is sealed comes before what runs, and the older before the younger.
    runs.sort_by_key(|a| (a.is_active(), a.leased_at, a.id));
    let mut left = task.replicas_wanted;
    for assignment in runs {
        match (&assignment.stage, reason) {
            // A run shows its log while it lasts: who has seen enough of it pays like who waits for the end.
            (
                Stage::Running { .. } | Stage::Committed(_) | Stage::Revealed(_),
                CloseReason::Cancelled,
            ) => {
                // The escrow holds the price of what the task wanted; a duplicate beyond it is an attempt.
                let amount = if left > 0 { price } else { attempt };
                left = left.saturating_sub(1);
                pay(assignment.node, amount);
            }
            (
                Stage::Committed(_) | Stage::Revealed(_),
                CloseReason::Expired | CloseReason::AttemptsSpent,
            ) => {
                pay(assignment.node, attempt);
            }
            (
                Stage::Leased
                | Stage::Running { .. }
                | Stage::Committed(_)
                | Stage::Revealed(_)
                | Stage::Accepted(_)
                | Stage::Refused { .. }
                | Stage::Lost { .. }
                | Stage::Failed { .. }
                | Stage::Returned { .. }
                | Stage::Withdrawn,
                _,
            ) => {}
        }
    }
    if reason == CloseReason::AttemptsSpent {
        let blaming = blaming_nodes(task, blame);
        let owners: BTreeSet<_> = blaming
            .iter()
            .filter_map(|n| state.nodes.get(n))
            .map(|n| n.owner)
            .collect();
        if owners.len() >= BLAMING_OWNERS_MIN {
            blaming.into_iter().for_each(|node| pay(node, attempt));
        }
    }
    fees
}

/// The nodes whose failure blames the module in the class that most of them name.
fn blaming_nodes(task: &Task, blame: Option<(NodeId, FailureClass)>) -> Vec<NodeId> {
    let mut by_class: BTreeMap<FailureClass, Vec<NodeId>> = BTreeMap::new();
    let earlier = task.assignments.values().filter_map(|a| match a.stage {
        Stage::Failed { class, .. } if class.blames_module() => Some((a.node, class)),
        Stage::Failed { .. }
        | Stage::Leased
        | Stage::Running { .. }
        | Stage::Committed(_)
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => None,
    });
    for (node, class) in earlier.chain(blame) {
        by_class.entry(class).or_default().push(node);
    }
    by_class
        .into_values()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}
