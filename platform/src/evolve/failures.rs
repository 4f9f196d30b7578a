//! Whose fault the failures of a task's runs were, which shows when the task has ended.

use std::collections::BTreeSet;

use aevir_events::{Corrupt, Timestamp};

use super::{
    assignment::{end_active, spend_attempt},
    checkpoint, market, record,
    task::{task_mut, task_ref},
};
use crate::{
    command::FailureClass,
    event::AssignmentFailed,
    ids::{AssignmentId, TaskId},
    state::{FAILING_OWNERS_MIN, Outcome, Stage, State, Task},
};

/// A run failed.
pub(super) fn failed(
    state: &mut State,
    e: &AssignmentFailed,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let stage = Stage::Failed {
        class: e.class,
        message: e.message.clone(),
        at,
    };
    end_active(state, e.task, e.assignment, at, |_| Some(stage))?;
    spend_attempt(state, e.task)?;
    match e.class {
        // Whose fault it was shows when the task has ended.
        FailureClass::HostError => {
            return record::note(state, e.task, e.assignment, Outcome::Setback, at);
        }
        FailureClass::NotCompiled => return market::not_compiled(state, e, at),
        FailureClass::GuestError | FailureClass::Trap | FailureClass::Limit => {}
    }
    checkpoint::distrust(task_mut(state, e.task)?, e.assignment)
}

/// Runs whose nodes blamed the module for a failure which accepted replicas did not have.
pub(super) fn contradicted(task: &Task) -> impl Iterator<Item = AssignmentId> {
    failures_of(task).filter_map(|(id, class)| class.blames_module().then_some(id))
}

/// The task has ended: failures that nodes took on themselves count against them, unless nobody managed and nodes of several owners failed.
/// A stranger's module that brings down a driver, or whatever else of the host, would else cost each honest node that it meets its record.
pub(super) fn count(state: &mut State, id: TaskId, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, id)?;
    let own = failures_of(task).filter(|(_, class)| class.blames_node());
    let own: Vec<_> = own.map(|(id, _)| id).collect();
    let stood = task.verdict.as_ref();
    if stood.is_none_or(|verdict| verdict.accepted.is_empty()) {
        let nodes = own.iter().filter_map(|id| task.assignments.get(id));
        let nodes = nodes.filter_map(|run| state.nodes.get(&run.node));
        let owners: BTreeSet<_> = nodes.map(|node| node.owner).collect();
        if owners.len() >= FAILING_OWNERS_MIN {
            return Ok(());
        }
    }
    own.into_iter()
        .try_for_each(|run| record::note(state, id, run, Outcome::Failure, at))
}

fn failures_of(task: &Task) -> impl Iterator<Item = (AssignmentId, FailureClass)> {
    let runs = task.assignments.values();
    runs.filter_map(|run| Some((run.id, run.failure()?)))
}
