//! Results that are open no more.

use aevir_events::{Corrupt, Timestamp};

use super::{
    node::{node_mut, refresh_node, unseal},
    task::task_ref,
};
use crate::{
    decide::is_slashed,
    event::TaskVerified,
    ids::{AssignmentId, TaskId},
    state::State,
};

/// Nothing of a task without an agreed result is open any more; what is slashed of what was locked stays until it is.
pub(super) fn unseal_undecided(
    state: &mut State,
    e: &TaskVerified,
    blamed: &[AssignmentId],
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let refuted = |id: &AssignmentId| e.refutes() && blamed.contains(id);
    let sealed = task.assignments.values();
    let sealed = sealed.filter(|a| a.commitment().is_some());
    let sealed: Vec<_> = sealed
        .map(|a| {
            (
                a.node,
                a.id,
                refuted(&a.id) && is_slashed(state, task, a, at),
            )
        })
        .collect();
    for (node, id, is_slashed) in sealed {
        if is_slashed {
            node_mut(state, node)?.sealed.remove(&id);
            refresh_node(state, node);
        } else {
            unseal(state, node, id)?;
        }
    }
    Ok(())
}

/// No result of the task is open any more.
pub(super) fn unseal_all(state: &mut State, task: TaskId) -> Result<(), Corrupt> {
    let sealed = task_ref(state, task)?.assignments.values();
    let sealed = sealed.filter(|a| a.commitment().is_some());
    let sealed: Vec<_> = sealed.map(|a| (a.node, a.id)).collect();
    sealed
        .into_iter()
        .try_for_each(|(node, assignment)| unseal(state, node, assignment))
}
