//! Verdicts that are looked at again.

use aevir_events::{Corrupt, Timestamp};

use super::{
    ensure,
    node::{node_mut, refresh_node, vouch},
    record, stake,
    task::{assignment_mut, expect, misfit, task_mut, task_ref},
};
use crate::{
    decide::{rests_on_caught, rests_on_unvouched},
    event::{ReviewCause, ReviewOpened, ReviewOrigin, ReviewOutcome, TaskReviewed},
    ids::{AssignmentId, NodeId, TaskId},
    state::{Expected, Outcome, Phase, Review, ReviewOf, Stage, State, Task, is_unblocked},
};

/// What a task that is created for it has to know of the verdict that it looks at.
pub(super) fn origin(state: &State, origin: ReviewOrigin) -> Result<ReviewOf, Corrupt> {
    let of = task_ref(state, origin.task)?;
    let accepted = of.verdict.iter().flat_map(|v| &v.accepted).next();
    let accepted = accepted.and_then(|id| of.assignments.get(id));
    let found = accepted.and_then(|a| match &a.stage {
        Stage::Accepted(revealed) => Some((a, revealed)),
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Committed(_)
        | Stage::Shown(_)
        | Stage::Revealed(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => None,
    });
    let (accepted, revealed) =
        found.ok_or_else(|| Corrupt(format!("task {} has no result to review", of.id)))?;
    let brought = of.assignments.values();
    let brought = brought.filter(|a| a.commitment().is_some());
    let rests_on = of.rests_on(accepted);
    let first = rests_on.last();
    let first = first.filter(|(run, _)| run.resume.is_none() && of.took_over(accepted));
    let is_resumed = accepted.resume.is_some();
    let authors = rests_on.iter().map(|(run, _)| run.node);
    Ok(ReviewOf {
        task: of.id,
        payer: origin.payer,
        involved: brought.map(|a| a.node).chain(authors).collect(),
        class: accepted.hardware.gpu().map(str::to_owned),
        reviewed: if is_resumed {
            revealed.report.work_key()
        } else {
            revealed.report.agreement_key()
        },
        is_resumed,
        expects: first.map(|(run, blob)| Expected {
            by: run.id,
            blob: *blob,
        }),
        counts: origin.counts,
    })
}

pub(super) fn opened(state: &mut State, e: &ReviewOpened, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let due = task.maturing();
    let fits = match (&e.cause, &task.review) {
        (ReviewCause::Dispute { .. }, Review::None) => due.is_some(),
        (ReviewCause::Caught { node }, Review::Due { node: of }) => node == of,
        (ReviewCause::Unvouched { node }, Review::None) => {
            let is_due = due.is_some_and(|due| due <= at);
            is_due && rests_on_unvouched(state, task) == Some(*node)
        }
        (
            ReviewCause::Dispute { .. }
            | ReviewCause::Caught { .. }
            | ReviewCause::Unvouched { .. },
            _,
        ) => false,
    };
    expect(fits, task)?;
    let task = task_mut(state, e.task)?;
    task.review = Review::Open {
        by: e.review,
        cause: e.cause.clone(),
    };
    if let Some(due) = due {
        state.index.maturing.remove(&(due, e.task));
    }
    state.index.recalls.remove(&e.task);
    let node = match e.cause {
        ReviewCause::Caught { node } | ReviewCause::Unvouched { node } => node,
        ReviewCause::Dispute { .. } => return Ok(()),
    };
    // What it locked for the result pays for the second look at it.
    let task = task_mut(state, e.task)?;
    let alone = task
        .verdict
        .iter()
        .flat_map(|v| &v.accepted)
        .next()
        .copied();
    let alone = alone.ok_or_else(|| Corrupt(format!("task {} has no result", e.task)))?;
    let assignment = assignment_mut(task, alone)?;
    ensure(assignment.stake >= e.bond, || {
        format!("the stake for {alone} does not cover its review")
    })?;
    assignment.stake.0 -= e.bond.0;
    stake::unlock(state, node, e.bond)
}

pub(super) fn reviewed(state: &mut State, e: &TaskReviewed, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let cause = match &task.review {
        Review::Open { by, cause } if *by == e.review => cause.clone(),
        Review::Open { .. } | Review::None | Review::Due { .. } | Review::Ended { .. } => {
            return Err(misfit(task));
        }
    };
    let is_unvouched = matches!(cause, ReviewCause::Unvouched { .. });
    task.review = Review::Ended {
        by: e.review,
        cause,
        outcome: e.outcome,
    };
    if is_unvouched && e.outcome == ReviewOutcome::Upheld {
        let word = task.lone_word();
        word.map_or(Ok(()), |word| vouch(state, word))?;
    }
    let task = task_mut(state, e.task)?;
    match e.outcome {
        ReviewOutcome::Upheld | ReviewOutcome::Undecided => {
            // It was held up, and matures with the next tick if its time has come meanwhile.
            if let Some(due) = task.maturing() {
                state.index.maturing.insert((due, e.task));
            }
            Ok(())
        }
        ReviewOutcome::Overturned | ReviewOutcome::Unconfirmed => overturned(state, e, at),
    }
}

fn overturned(state: &mut State, e: &TaskReviewed, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    task.phase = Phase::Overturned;
    for refused in &e.refused {
        let assignment = assignment_mut(task, *refused)?;
        let Stage::Accepted(revealed) = &assignment.stage else {
            return Err(Corrupt(format!("assignment {refused} is refuted amiss")));
        };
        assignment.stage = Stage::Refused {
            reason: crate::event::RefusalReason::Mismatch,
            commitment: revealed.commitment,
            report: Some(revealed.report.clone()),
        };
    }
    let requester = task.requester;
    unseal(state, e)?;
    let blamed: Vec<AssignmentId> = e.blamed.iter().map(|run| run.assignment).collect();
    for run in blamed.iter().chain(&e.doubted) {
        record::note(state, e.task, *run, Outcome::Fault, at)?;
    }
    stake::strike(state, e.task, &blamed, at)?;
    // What waited for it and for others, too, can't go on.
    let blocked: Vec<TaskId> = state
        .tasks_of(requester)
        .filter(|task| is_unblocked(state, task))
        .map(|task| task.id)
        .collect();
    state.index.unblocked.extend(blocked);
    Ok(())
}

/// No result of the task is open any more; what is slashed of what was locked stays until it is.
fn unseal(state: &mut State, e: &TaskReviewed) -> Result<(), Corrupt> {
    let sealed = task_ref(state, e.task)?.assignments.values();
    let sealed = sealed.filter(|a| a.commitment().is_some());
    let sealed: Vec<_> = sealed.map(|a| (a.node, a.id)).collect();
    for (node, id) in sealed {
        let kept = e.blamed.iter().find(|run| run.assignment == id);
        let assignment = assignment_mut(task_mut(state, e.task)?, id)?;
        let slashed = kept.map_or(0, |r| r.slashed.0);
        let freed = crate::amount::Amount(assignment.stake.0 - slashed);
        ensure(freed.0 >= 0, || {
            format!("more than was locked for {id} is slashed")
        })?;
        assignment.stake.0 = slashed;
        stake::unlock(state, node, freed)?;
        node_mut(state, node)?.sealed.remove(&id);
        refresh_node(state, node);
    }
    Ok(())
}

/// A node was caught: what rests on its word alone, and has not matured, is to be looked at again.
pub(super) fn caught(state: &mut State, node: NodeId) -> Result<(), Corrupt> {
    let sealed = node_mut(state, node)?.sealed.clone();
    let tasks: Vec<TaskId> = sealed
        .iter()
        .filter_map(|id| state.index.task_of.get(id).copied())
        .collect();
    tasks.into_iter().try_for_each(|task| settled(state, task))
}

/// A verdict that is pending is due to be looked at again where it rests on one word of a node that was caught.
pub(super) fn settled(state: &mut State, id: TaskId) -> Result<(), Corrupt> {
    let task = task_ref(state, id)?;
    let due = task.maturing().filter(|_| task.review == Review::None);
    let node = rests_on_caught(state, task);
    if let (Some(due), Some(node)) = (due, node) {
        task_mut(state, id)?.review = Review::Due { node };
        state.index.maturing.remove(&(due, id));
        state.index.recalls.insert(id);
    }
    Ok(())
}

/// What is added to a task that looks at another's verdict.
pub(crate) fn reviewing(
    state: &State,
    task: &mut Task,
    of: Option<ReviewOrigin>,
) -> Result<(), Corrupt> {
    task.review_of = of.map(|of| origin(state, of)).transpose()?;
    Ok(())
}
