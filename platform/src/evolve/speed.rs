//! What accepted results show of their nodes' speed.

use crate::{
    ids::NodeId,
    state::{Assignment, Stage, State, Task},
};

/// A node, the fuel of its result, the time from lease to commitment in ms, and how much of it fetching is taken to have needed.
pub(super) type Sample = (NodeId, u64, i64, u64);

/// What accepted runs of a task show. What a task with GPU computes its fuel does not tell.
pub(super) fn samples(state: &State, task: &Task, runs: &[&Assignment]) -> Vec<Sample> {
    if task.definition.qos.gpu.is_some() {
        return Vec::new();
    }
    let allowed = fetching_ms(state, task);
    runs.iter().filter_map(|a| sample(a, allowed)).collect()
}

/// How long a run may have fetched: what its inputs take at the least speed of fetching.
fn fetching_ms(state: &State, task: &Task) -> u64 {
    let leases = &state.policy_of(task).scheduling.leases;
    leases.transfer_ms(task.input_bytes())
}

fn sample(assignment: &Assignment, allowed_ms: u64) -> Option<Sample> {
    let Stage::Accepted(revealed) = &assignment.stage else {
        return None;
    };
    let told = assignment.started_at?.0 - assignment.leased_at.0;
    let told = u64::try_from(told).unwrap_or(0);
    let (node, fuel) = (assignment.node, revealed.report.usage.fuel.0);
    // A run goes on while there is no leader: that forgives lateness, and shows no speed.
    let ms = revealed.commitment.at.0 - assignment.leased_at.0;
    Some((node, fuel, ms, told.min(allowed_ms)))
}
