//! Stake is locked for results, comes free again, and is lost.

use aevir_events::{Corrupt, Timestamp};

use super::{
    ensure,
    node::node_mut,
    task::{assignment_mut, task_mut, task_ref},
};
use crate::{
    amount::Amount,
    event::{NodeSlashed, TaskVerified},
    ids::{AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    state::{State, Task},
};

/// What a node that gets a replica of the task locks: all that the policy asks for, or nothing where it has not so much free;
/// and whether it has.
pub(super) fn pledge(state: &State, task: &Task, node: NodeId) -> (Amount, bool) {
    let price = task.definition.economics.pricing.max_price();
    let due = state.policy_of(task).stake.for_result(price);
    if due <= state.free_stake(node) {
        (due, true)
    } else {
        (Amount::ZERO, false)
    }
}

/// Locks what a fresh assignment pledges.
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
    })
}

/// Refused results count against their nodes.
pub(super) fn struck(state: &mut State, e: &TaskVerified, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let policy = state.policy_of(task).stake;
    let refused = e.refused.iter();
    let nodes = refused.filter_map(|r| task.assignments.get(&r.assignment));
    let nodes: Vec<NodeId> = nodes.map(|a| a.node).collect();
    for node in nodes {
        node_mut(state, node)?.pledges.strike(at, policy);
    }
    Ok(())
}

pub(super) fn slashed(state: &mut State, e: &NodeSlashed) -> Result<(), Corrupt> {
    let lost = taken(state, e.task, e.assignment)?;
    let strikes = node_mut(state, e.node)?.pledges.strikes;
    ensure(lost == e.amount && strikes == e.strikes, || {
        format!("node {} is slashed amiss", e.node)
    })?;
    unlock(state, e.node, lost)
}

/// What is left of a node's stake covers what it has locked.
pub(super) fn covers(state: &State, account: LedgerAccount) -> Result<(), Corrupt> {
    let LedgerAccount::Stake(node) = account else {
        return Ok(());
    };
    ensure(state.free_stake(node) >= Amount::ZERO, || {
        format!("the stake of node {node} does not cover its open results")
    })
}
