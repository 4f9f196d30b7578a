//! Stake is locked for results, comes free again, and is lost.

use aevir_events::{Corrupt, Timestamp};

use super::{
    ensure,
    node::{node_mut, refresh_node},
    review,
    task::{assignment_mut, task_mut, task_ref},
};
use crate::{
    amount::Amount,
    decide::stake_due,
    event::{AssignmentLeased, NodeSlashed, TaskVerified},
    ids::{AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    state::{State, Task},
};

/// What a node that gets a replica of the task locks: all that the policy asks for, or nothing where it has not so much free;
/// and whether it has.
pub(super) fn pledge(state: &State, task: &Task, node: NodeId, price: Amount) -> (Amount, bool) {
    let due = stake_due(task, price, &state.policy_of(task));
    if due <= state.free_stake(node) {
        (due, true)
    } else {
        (Amount::ZERO, false)
    }
}

/// Locks what a fresh assignment pledges; its node's place in the indexes changes with the rest of the lease.
pub(super) fn lock(state: &mut State, node: NodeId, amount: Amount) -> Result<(), Corrupt> {
    let pledges = &mut node_mut(state, node)?.pledges;
    let locked = pledges.locked.plus(amount);
    pledges.locked = locked.ok_or_else(|| Corrupt("locked stake passes 64 bits".into()))?;
    Ok(())
}

/// What was locked for an assignment covers it no more.
pub(super) fn release(
    state: &mut State,
    node: NodeId,
    assignment: AssignmentId,
) -> Result<(), Corrupt> {
    let task = state.index.task_of.get(&assignment).copied();
    let task = task.ok_or_else(|| Corrupt(format!("no assignment {assignment}")))?;
    let freed = taken(state, task, assignment)?;
    unlock(state, node, freed)
}

/// Takes what is locked for an assignment off it.
fn taken(state: &mut State, task: TaskId, assignment: AssignmentId) -> Result<Amount, Corrupt> {
    let assignment = assignment_mut(task_mut(state, task)?, assignment)?;
    Ok(std::mem::take(&mut assignment.stake))
}

pub(super) fn unlock(state: &mut State, node: NodeId, amount: Amount) -> Result<(), Corrupt> {
    let pledges = &mut node_mut(state, node)?.pledges;
    pledges.locked = Amount(pledges.locked.0 - amount.0);
    ensure(pledges.locked >= Amount::ZERO, || {
        format!("node {node} has less than nothing locked")
    })?;
    refresh_node(state, node);
    Ok(())
}

/// A result that a quorum accepted counts for its node.
pub(super) fn stood(state: &mut State, node: NodeId) -> Result<(), Corrupt> {
    let pledges = &mut node_mut(state, node)?.pledges;
    pledges.accepted = pledges.accepted.saturating_add(1);
    Ok(())
}

/// Refused results count against their nodes.
pub(super) fn struck(
    state: &mut State,
    e: &TaskVerified,
    blamed: &[AssignmentId],
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    if !task.is_refuted_by(e, &state.policy_of(task)) {
        return count(state, e.task, blamed, at).map(drop);
    }
    strike(state, e.task, blamed, at)
}

/// Others agree on something else: what else rests on their nodes' word is to be looked at again.
pub(super) fn strike(
    state: &mut State,
    task: TaskId,
    refused: &[AssignmentId],
    at: Timestamp,
) -> Result<(), Corrupt> {
    let nodes = count(state, task, refused, at)?;
    for node in &nodes {
        node_mut(state, *node)?.pledges.caught_at = at;
    }
    nodes
        .into_iter()
        .try_for_each(|node| review::caught(state, node))
}

fn count(
    state: &mut State,
    task: TaskId,
    refused: &[AssignmentId],
    at: Timestamp,
) -> Result<Vec<NodeId>, Corrupt> {
    let task = task_ref(state, task)?;
    let policy = state.policy_of(task).stake;
    let nodes = refused.iter().filter_map(|id| task.assignments.get(id));
    let nodes: Vec<NodeId> = nodes.map(|a| a.node).collect();
    for node in &nodes {
        node_mut(state, *node)?.pledges.strike(at, policy);
    }
    Ok(nodes)
}

pub(super) fn slashed(state: &mut State, e: &NodeSlashed) -> Result<(), Corrupt> {
    let lost = taken(state, e.task, e.assignment)?;
    let strikes = node_mut(state, e.node)?.pledges.strikes;
    ensure(lost == e.amount && strikes == e.strikes, || {
        format!("node {} is slashed amiss", e.node)
    })?;
    unlock(state, e.node, lost)
}

/// After a posting: what is left of a node's stake covers what it has locked.
pub(super) fn moved(state: &mut State, account: LedgerAccount) -> Result<(), Corrupt> {
    let LedgerAccount::Stake(node) = account else {
        return Ok(());
    };
    refresh_node(state, node);
    ensure(state.free_stake(node) >= Amount::ZERO, || {
        format!("the stake of node {node} does not cover its open results")
    })
}

/// What the lease is to earn: the node's ask, where the task pays what nodes ask for.
pub(super) fn price(state: &State, task: &Task, e: &AssignmentLeased) -> Result<Amount, Corrupt> {
    let definition = &task.definition;
    let node = state.nodes.get(&e.node);
    let node = node.ok_or_else(|| Corrupt(format!("no node {}", e.node)))?;
    let asked = definition.asked_price(node.terms.ask(definition.kind));
    let most = definition.economics.pricing.max_price();
    let is_asked = e.price == asked && asked.is_none_or(|price| price <= most);
    ensure(is_asked, || {
        format!("assignment {} is not leased at its price", e.assignment)
    })?;
    Ok(asked.unwrap_or(most))
}
