//! Nodes that are kept free for tasks.

use aevir_events::Corrupt;

use super::{
    ensure,
    task::{expect, refresh_open, task_mut, task_ref},
};
use crate::{event::TaskReserved, ids::TaskId, state::State};

/// A node is kept free for a task, and no longer for another, nor another for it.
pub(super) fn reserved(state: &mut State, e: &TaskReserved) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    expect(task.open_slots() > 0, task)?;
    ensure(state.nodes.contains_key(&e.node), || {
        format!("the unknown node {} is kept free", e.node)
    })?;
    give_up(state, e.task);
    if let Some(other) = state.index.reserved.get(&e.node).copied() {
        give_up(state, other);
        refresh_open(state, other);
    }
    task_mut(state, e.task)?.reserved = Some(e.node);
    state.index.reserved.insert(e.node, e.task);
    refresh_open(state, e.task);
    Ok(())
}

/// A task needs its node no longer: it is placed, or over. Its place in the queue is to be brought up to date then.
pub(super) fn give_up(state: &mut State, id: TaskId) {
    let task = state.tasks.get_mut(&id);
    if let Some(node) = task.and_then(|task| task.reserved.take()) {
        state.index.reserved.remove(&node);
    }
}
