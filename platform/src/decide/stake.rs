//! Stake: owners put money up for their nodes' results and take it back, and refused results cost it (formulas:
//! `docs/economics.md`).

use aevir_events::Timestamp;

use super::{
    Decision,
    account::active_account,
    posting::{posted, posted_for, transfer},
    review,
};
use crate::{
    amount::Amount,
    event::{Event, NodeSlashed, NodeSuspended, PostingReason, TaskVerified},
    ids::{AccountId, AssignmentId, NodeId},
    ledger::LedgerAccount,
    policy::Policy,
    rejection::Rejection,
    state::{Assignment, Node, State, Task},
};

/// What a node pledges for a result of the task that earns `price`. Who may refute a result risks as much as who brought it.
pub(crate) fn due(task: &Task, price: Amount, policy: &Policy) -> Amount {
    let definition = &task.definition;
    let due = policy.stake.for_result(price.max(task.risk()));
    if !definition.sampling().adaptive {
        return due;
    }
    // Where it could stand alone it covers a second look, too.
    let again = review::cost(definition, true, policy);
    due.max(again.unwrap_or(Amount(i64::MAX)))
}

pub(super) fn stake(state: &State, account: AccountId, id: NodeId, amount: Amount) -> Decision {
    let node = owned(state, account, id)?;
    if node.standing.is_gone() {
        return Err(Rejection::NodeGone);
    }
    active_account(state, node.owner)?;
    if amount.0 <= 0 {
        return Err(Rejection::AmountNotPositive);
    }
    let from = LedgerAccount::Available(node.owner);
    let available = state.ledger.balance(from);
    if amount > available {
        let needed = amount;
        return Err(Rejection::BalanceTooSmall { available, needed });
    }
    let to = LedgerAccount::Stake(id);
    let postings = transfer(from, to, amount);
    Ok(vec![posted(PostingReason::Stake, None, postings)])
}

/// Of a node that is gone, too: what it pledged comes free when its results have matured.
pub(super) fn unstake(state: &State, account: AccountId, id: NodeId, amount: Amount) -> Decision {
    let node = owned(state, account, id)?;
    if amount.0 <= 0 {
        return Err(Rejection::AmountNotPositive);
    }
    let free = state.free_stake(id);
    if amount > free {
        let wanted = amount;
        return Err(Rejection::StakeLocked { free, wanted });
    }
    Ok(vec![returned(node, amount)])
}

/// Another account's node does not exist for this one.
fn owned(state: &State, account: AccountId, id: NodeId) -> Result<&Node, Rejection> {
    let node = state.nodes.get(&id).filter(|n| n.owner == account);
    node.ok_or(Rejection::UnknownNode)
}

/// All of a node's stake comes back, for it leaves with nothing open.
pub(super) fn left(state: &State, node: &Node) -> Option<Event> {
    let amount = state.stake(node.id);
    (amount > Amount::ZERO).then(|| returned(node, amount))
}

fn returned(node: &Node, amount: Amount) -> Event {
    let (from, to) = (
        LedgerAccount::Stake(node.id),
        LedgerAccount::Available(node.owner),
    );
    posted(PostingReason::Unstake, None, transfer(from, to, amount))
}

/// Nodes that so many refused results shut out: an administrator can let them in again.
pub(super) fn shut_out(
    state: &State,
    task: &Task,
    refused: &[AssignmentId],
    policy: &Policy,
    now: Timestamp,
) -> Vec<Event> {
    let refused = refused.iter();
    let nodes = refused.filter_map(|id| state.nodes.get(&task.assignments.get(id)?.node));
    let nodes = nodes.filter(|node| node.suspended.is_none() && !node.standing.is_gone());
    let most = policy.stake.strikes_max;
    let struck = nodes.filter_map(|node| {
        let strikes = node.pledges.strikes_at(now, policy.stake).saturating_add(1);
        (most > 0 && strikes >= most).then_some((node.id, strikes))
    });
    struck
        .map(|(node, strikes)| {
            let reason = format!("{strikes} of its results were refused");
            NodeSuspended { node, reason }.into()
        })
        .collect()
}

/// Whether a refused result costs what was locked for it, as of before it counts as a strike.
pub(crate) fn is_slashed(state: &State, task: &Task, refused: &Assignment, now: Timestamp) -> bool {
    let policy = state.policy_of(task).stake;
    let Some(node) = state.nodes.get(&refused.node) else {
        return false;
    };
    let strikes = node.pledges.strikes_at(now, policy).saturating_add(1);
    // Who could have stood alone pledged for it, and verifiers pledge for their word; without a GPU the same run has the same result
    // everywhere.
    let is_pledged = task.trusted() == Some(refused.id) || task.inspects.is_some();
    let is_covered = is_pledged && refused.hardware.gpu().is_none();
    let is_free = policy.is_free(strikes, node.pledges.accepted) && !is_covered;
    !is_free && refused.stake > Amount::ZERO
}

/// What the refused results of a verdict cost that their nodes are blamed for, where a quorum agrees on another one. It goes to the treasury: a requester or
/// a node that got it could gain by having honest results refused.
pub(super) fn slashes(
    state: &State,
    task: &Task,
    (verified, blamed): (&TaskVerified, &[AssignmentId]),
    policy: &Policy,
    now: Timestamp,
) -> Vec<Event> {
    if !task.is_refuted_by(verified, policy) {
        return Vec::new();
    }
    let mut events = Vec::new();
    let refused = verified.refused.iter();
    for refusal in refused.filter(|r| blamed.contains(&r.assignment)) {
        let assignment = task.assignments.get(&refusal.assignment);
        let found = assignment.and_then(|a| Some((a, state.nodes.get(&a.node)?)));
        let Some((assignment, node)) = found else {
            continue;
        };
        let strikes = node.pledges.strikes_at(now, policy.stake).saturating_add(1);
        if !is_slashed(state, task, assignment, now) {
            continue;
        }
        let slashed = NodeSlashed {
            node: node.id,
            task: task.id,
            assignment: assignment.id,
            amount: assignment.stake,
            reason: refusal.reason,
            strikes,
        };
        let (from, to) = (LedgerAccount::Stake(node.id), LedgerAccount::Treasury);
        let postings = transfer(from, to, slashed.amount);
        events.push(slashed.into());
        events.push(posted_for(task.id, PostingReason::Slash, postings));
    }
    events
}
