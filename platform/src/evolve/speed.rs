//! What accepted results show of their nodes' speed.

use aevir_events::Corrupt;

use super::{node::node_mut, task::task_ref};
use crate::{
    event::TaskVerified,
    ids::NodeId,
    state::{Assignment, Stage, State},
};

/// Takes in the accepted results of a verdict. What a task with GPU computes its fuel does not tell.
pub(super) fn seen(state: &mut State, e: &TaskVerified) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    if task.definition.qos.gpu.is_some() {
        return Ok(());
    }
    let accepted = e.accepted.iter().filter_map(|id| task.assignments.get(id));
    let samples: Vec<(NodeId, u64, i64)> = accepted.filter_map(sample).collect();
    for (node, fuel, ms) in samples {
        node_mut(state, node)?.speed.see(fuel, ms);
    }
    Ok(())
}

/// The fuel of an accepted result, and the time from its start to its commitment in ms.
fn sample(assignment: &Assignment) -> Option<(NodeId, u64, i64)> {
    let Stage::Accepted(revealed) = &assignment.stage else {
        return None;
    };
    let ms = revealed.commitment.at.0 - assignment.started_at?.0;
    Some((assignment.node, revealed.report.usage.fuel.0, ms))
}
