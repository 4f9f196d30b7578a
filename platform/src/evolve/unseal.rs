//! Results that are open no more, and what nodes keep of them until then.

use aevir_events::{Corrupt, Timestamp};

use super::{
    node::{node_mut, refresh_node, unseal},
    task::{assignment_mut, task_mut, task_ref},
};
use crate::{
    decide::is_slashed,
    event::TaskVerified,
    ids::{AssignmentId, TaskId},
    schedule::sealed_mib,
    state::{Assignment, Room, State, Task},
};

/// Nothing of a task without an agreed result is open any more; what is slashed of what was locked stays until it is.
pub(super) fn unseal_undecided(
    state: &mut State,
    e: &TaskVerified,
    blamed: &[AssignmentId],
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let is_refuted = task.is_refuted_by(e, &state.policy_of(task));
    let refuted = |id: &AssignmentId| is_refuted && blamed.contains(id);
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

/// A run's node keeps what it brought, for it may be asked for the outputs again until they are opened.
pub(super) fn keep(state: &mut State, task: TaskId, id: AssignmentId) -> Result<(), Corrupt> {
    let task = task_mut(state, task)?;
    let sealed_mib = sealed_mib(task);
    let assignment = assignment_mut(task, id)?;
    assignment.sealed_mib = sealed_mib;
    let node = assignment.node;
    let host = node_mut(state, node)?;
    host.sealed_mib = host.sealed_mib.saturating_add(sealed_mib);
    host.taken.add(Room::storage(sealed_mib));
    refresh_node(state, node);
    Ok(())
}

/// Nobody asks the node for it any more: it is opened, or of no use.
pub(super) fn discard(state: &mut State, id: AssignmentId) -> Result<(), Corrupt> {
    let task = state.index.task_of.get(&id).copied();
    let task = task.ok_or_else(|| Corrupt(format!("no assignment {id}")))?;
    let assignment = assignment_mut(task_mut(state, task)?, id)?;
    let kept = std::mem::take(&mut assignment.sealed_mib);
    let node = assignment.node;
    let host = node_mut(state, node)?;
    host.sealed_mib = host.sealed_mib.saturating_sub(kept);
    host.taken.remove(Room::storage(kept));
    refresh_node(state, node);
    Ok(())
}

/// The task has ended: nobody asks for any of its results.
pub(super) fn discard_all(state: &mut State, task: TaskId) -> Result<(), Corrupt> {
    let kept = task_ref(state, task)?.assignments.values();
    let kept = kept.filter(|a| a.sealed_mib > 0).map(|a| a.id);
    let kept: Vec<AssignmentId> = kept.collect();
    kept.into_iter().try_for_each(|id| discard(state, id))
}
