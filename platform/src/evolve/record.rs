//! What runs mean for their nodes' records, and how those fade.

use std::collections::BTreeMap;

use aevir_events::{Corrupt, Timestamp};

use super::{
    concurrency,
    fleet::regard,
    node::{node_mut, vouch},
    speed, stake,
    task::task_ref,
};
use crate::{
    event::{Share, ShareRole, TaskSettled, Track},
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    state::{Assignment, Fading, Node, Outcome, PointsBalance, State, Sweep, Tally},
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

/// A verdict was settled. What an accepted result shows of its node counts where it earned that enough: made-up work for one's own node
/// would else cost nothing.
pub(super) fn paid(state: &mut State, e: &TaskSettled, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let policy = state.policy_of(task);
    let (least, may_blame) = (policy.scheduling.record_pay_min, task.may_blame(&policy));
    let earned = |run: &&Assignment| {
        let mut shares = e.shares.iter();
        let of_run = |s: &&Share| s.role == ShareRole::Compute && s.node == Some(run.node);
        shares.find(of_run).is_some_and(|s| s.amount >= least)
    };
    // A result that stood vouches for its node, where those that repeated it could have blamed it, and it was worth something: else any
    // node could vouch for itself with samples of its own.
    let trusted = task
        .drawn_and_stood()
        .filter(|run| may_blame && earned(run));
    let vouched = trusted.and_then(|run| Some((run.node, run.commitment()?.at)));
    let accepted = task.verdict.iter().flat_map(|verdict| &verdict.accepted);
    // A quorum that could have blamed others.
    let is_quorum = may_blame && task.verdict.as_ref().is_some_and(|v| v.accepted.len() > 1);
    let runs: Vec<&Assignment> = accepted
        .filter_map(|id| task.assignments.get(id))
        .filter(earned)
        .collect();
    let in_time = runs.iter().filter(|run| !task.missed_latency(run));
    let in_time: Vec<AssignmentId> = in_time.map(|run| run.id).collect();
    let nodes: Vec<(NodeId, u32)> = runs.iter().map(|run| (run.node, run.abreast)).collect();
    let speeds = speed::samples(state, task, &runs);
    if let Some(sealed) = vouched {
        vouch(state, sealed)?;
    }
    for (node, fuel, ms, fetching) in speeds {
        node_mut(state, node)?.speed.see(fuel, ms, fetching);
    }
    for (node, abreast) in nodes {
        // One that stands alone shows nothing, and so do some of one's own choice.
        if is_quorum {
            stake::stood(state, node)?;
        }
        concurrency::shown(state, node, abreast)?;
    }
    let mut in_time = in_time.into_iter();
    in_time.try_for_each(|run| note(state, e.task, run, Outcome::Good, at))
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
