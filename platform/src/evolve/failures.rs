//! Whose fault the failures of a task's runs were, which shows when the task has ended.

use std::collections::BTreeSet;

use aevir_events::{Corrupt, Timestamp};

use super::{record, task::task_ref};
use crate::{
    command::FailureClass,
    ids::{AssignmentId, TaskId},
    state::{FAILING_OWNERS_MIN, Outcome, State, Task},
};

/// Runs whose nodes blamed the module for a failure which accepted replicas did not have.
pub(super) fn contradicted(task: &Task) -> impl Iterator<Item = AssignmentId> {
    failed(task).filter_map(|(id, class)| class.blames_module().then_some(id))
}

/// The task has ended: failures that nodes took on themselves count against them, unless nobody managed and nodes of several owners failed.
/// A stranger's module that brings down a driver, or whatever else of the host, would else cost each honest node that it meets its record.
pub(super) fn count(state: &mut State, id: TaskId, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, id)?;
    let own = failed(task).filter(|(_, class)| !class.blames_module());
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

fn failed(task: &Task) -> impl Iterator<Item = (AssignmentId, FailureClass)> {
    let runs = task.assignments.values();
    runs.filter_map(|run| Some((run.id, run.failure()?)))
}
