//! What runs mean for their nodes' records, and how those fade.

use std::collections::BTreeMap;

use aevir_events::{Corrupt, Timestamp};

use super::{fleet::regard, task::task_ref};
use crate::{
    event::Track,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    state::{Fading, Node, Outcome, PointsBalance, State, Sweep, Tally},
};

/// Nodes that each start of a run brings up to date: all of them once an eighth as many runs were started.
const SWEPT_NODES: u32 = 8;

/// An assignment ended for its node in this way: it counts on the task's type and the hardware that it was leased for.
pub(super) fn note(
    state: &mut State,
    task: TaskId,
    assignment: AssignmentId,
    outcome: Outcome,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let of = task_ref(state, task)?;
    let policy = state.policy_of(of);
    let kind = of.definition.kind;
    let assignment = of
        .assignments
        .get(&assignment)
        .ok_or_else(|| Corrupt(format!("task {task} has no assignment {assignment}")))?;
    let (id, hardware) = (assignment.node, assignment.hardware.clone());
    let node = state.nodes.get_mut(&id);
    let node = node.ok_or_else(|| Corrupt(format!("no node {id}")))?;
    bring_up(&state.epochs.fading, &state.points, node);
    let record = node.records.entry(kind).or_default();
    let tally = record.tallies.entry(hardware).or_default();
    outcome.count(tally, &mut record.backoff, at, &policy);
    regard(state, id);
    Ok(())
}

/// An epoch closed: from here on every node is due to be brought up to date.
pub(super) fn epoch_closed(state: &mut State, epoch: u32) {
    let keep_ppm = state.scheduling().reliability_keep_ppm;
    state.epochs.fading.close(epoch, keep_ppm);
    state.epochs.sweep.left = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
}

/// Brings the next nodes up to date whose turn has not come since an epoch closed.
pub(super) fn sweep(state: &mut State) {
    let nodes = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
    for _ in 0..SWEPT_NODES {
        let Sweep { next, left } = state.epochs.sweep;
        if left == 0 {
            return;
        }
        state.epochs.sweep = Sweep {
            next: (next + 1) % nodes.max(1),
            left: left - 1,
        };
        if let Some(id) = state.index.fleet.id(next) {
            refresh(state, id);
        }
    }
}

/// Brings one node up to date.
fn refresh(state: &mut State, id: NodeId) {
    let node = state.nodes.get_mut(&id);
    if node.is_some_and(|node| bring_up(&state.epochs.fading, &state.points, node)) {
        regard(state, id);
    }
}

/// Multiplies a node's counts for the epochs that closed since they were up to date, and takes over what its owner's points have become;
/// answers whether there were any.
fn bring_up(fading: &Fading, points: &BTreeMap<AccountId, PointsBalance>, node: &mut Node) -> bool {
    let since = std::mem::replace(&mut node.faded, fading.closed);
    if since == fading.closed {
        return false;
    }
    let points = points
        .get(&node.owner)
        .map_or(0, |p| p.on(Track::Compute).0);
    let mut changed = std::mem::replace(&mut node.ranked_points, points) != points;
    for record in node.records.values_mut() {
        record.tallies.retain(|_, tally| {
            changed = true;
            *tally = fading.fade(*tally, since);
            !Tally::is_empty(*tally)
        });
    }
    changed
}
