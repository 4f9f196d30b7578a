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
    state::{Assignment, State, Task},
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
    let waits = |a: &Assignment| refuted(&a.id) && is_slashed(state, task, a, at);
    let sealed: Vec<_> = sealed(task).map(|a| (a.node, a.id, waits(a))).collect();
    for (node, id, waits) in sealed {
        if waits {
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
    let sealed = sealed(task_ref(state, task)?).map(|a| (a.node, a.id));
    let sealed: Vec<_> = sealed.collect();
    sealed
        .into_iter()
        .try_for_each(|(node, assignment)| unseal(state, node, assignment))
}

/// Runs that brought a result.
fn sealed(task: &Task) -> impl Iterator<Item = &Assignment> {
    let all = task.assignments.values();
    all.filter(|a| a.commitment().is_some())
}
