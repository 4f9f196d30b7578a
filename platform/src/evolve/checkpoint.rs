//! Where a run goes on from: the newest checkpoint of each run, until a run fails from it.

use std::collections::BTreeSet;

use aevir_events::Corrupt;

use super::task::{assignment_mut, task_mut};
use crate::{
    event::AssignmentCheckpointed,
    ids::AssignmentId,
    state::{Checkpoint, Stage, State, Task},
};

/// Runs of a task whose checkpoints are kept: as many as it can have attempts. Of more, the one that is least far goes first.
const CHECKPOINTS_MAX: usize = 16;

/// A run's checkpoint takes the place of the one that it saved before, and of no other run's.
pub(super) fn saved(state: &mut State, e: &AssignmentCheckpointed) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let of = task.review_of.as_ref();
    let expected = of.and_then(|of| of.expects).map(|expected| expected.blob);
    let assignment = assignment_mut(task, e.assignment)?;
    let Stage::Running { ppm: told, .. } = assignment.stage else {
        return Err(Corrupt(format!(
            "checkpoint of the idle assignment {}",
            e.assignment
        )));
    };
    let (author, resumed) = (assignment.node, assignment.resume);
    assignment.has_remade |= expected == Some(e.checkpoint);
    let base = task.checkpoints.iter().find(|c| Some(c.blob) == resumed);
    // A run that tells nothing is as far as where it began.
    let ppm = told.max(base.map_or(0, |c| c.ppm));
    task.checkpoints.retain(|c| c.by != e.assignment);
    if task.checkpoints.len() >= CHECKPOINTS_MAX {
        let least = task
            .checkpoints
            .iter()
            .enumerate()
            .min_by_key(|(_, c)| c.ppm);
        if let Some((at, _)) = least {
            task.checkpoints.remove(at);
        }
    }
    task.checkpoint_bytes = task.checkpoint_bytes.saturating_add(e.checkpoint.size.0);
    task.checkpoints.push(Checkpoint {
        by: e.assignment,
        author,
        blob: e.checkpoint,
        ppm,
    });
    Ok(())
}

/// A run failed, and says that it was the module. Where it saved something, or began from something, that may be why: both are dropped, and
/// the next run begins before them. The last attempt begins at zero.
pub(super) fn distrust(task: &mut Task, failed: AssignmentId) -> Result<(), Corrupt> {
    let last = task.attempts_spent.saturating_add(1) >= task.definition.retry.max_attempts;
    let assignment = assignment_mut(task, failed)?;
    let (resumed, node) = (assignment.resume, assignment.node);
    let is_others = assignment.author.is_some_and(|author| author != node);
    let suspect = assignment.resumed_run.filter(|_| is_others).zip(resumed);
    task.suspects.extend(suspect);
    task.checkpoints
        .retain(|c| !last && c.by != failed && Some(c.blob) != resumed);
    Ok(())
}

/// The runs whose dropped checkpoints an accepted result was reached without: the first one of each node. The run that failed from
/// one is contradicted, too: nothing in the log tells which of the two it was.
pub(super) fn blamed(task: &Task, accepted: &[AssignmentId]) -> Vec<AssignmentId> {
    let runs = || accepted.iter().filter_map(|id| task.assignments.get(id));
    let mut nodes = BTreeSet::new();
    let suspects = task.suspects.iter().filter(|(by, blob)| {
        let author = task.assignments.get(by).map(|run| run.node);
        author.is_some_and(|author| {
            runs().all(|run| run.node != author && run.resume != Some(*blob))
                && nodes.insert(author)
        })
    });
    suspects.map(|(by, _)| *by).collect()
}
