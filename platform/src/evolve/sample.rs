//! How many replicas a task is to have.

use aevir_events::{Corrupt, Timestamp};

use super::{
    ensure,
    task::{assignment_mut, expect, misfit, refresh_open, resume_running, task_mut, task_ref},
};
use crate::{
    event::{TaskExtended, TaskHastened, Trust, TrustDecided},
    schedule::hastens_at,
    state::{Pace, Phase, Sample, Stage, State},
};

pub(super) fn extended(state: &mut State, e: &TaskExtended) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let reveal_by = match task.phase {
        Phase::Verifying { reveal_by } => Some(reveal_by),
        // Its results were compared, and too few agree.
        Phase::Inspecting if task.is_inspected() => None,
        Phase::Inspecting
        | Phase::Created
        | Phase::Queued
        | Phase::Running
        | Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => return Err(misfit(task)),
    };
    ensure(
        e.round == task.round + 1 && e.replicas > task.replicas_wanted,
        || format!("task {} extended amiss", e.task),
    )?;
    task.round = e.round;
    task.replicas_wanted = e.replicas;
    resume_running(state, e.task, reveal_by)?;
    state.index.inspected.remove(&e.task);
    refresh_open(state, e.task);
    Ok(())
}

pub(super) fn hastened(state: &mut State, e: &TaskHastened, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let is_due = hastens_at(state, task).is_some_and(|due| due <= at);
    expect(is_due, task)?;
    let task = task_mut(state, e.task)?;
    task.pace = Pace::AtOnce;
    match task.sample {
        // It can't wait for the first result of an adaptive sample.
        Sample::Undecided => task.repeat(None),
        Sample::Alone { .. } | Sample::Repeated { .. } => {}
    }
    refresh_open(state, e.task);
    Ok(())
}

pub(super) fn trust_decided(state: &mut State, e: &TrustDecided) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    expect(
        task.phase == Phase::Running && task.sample == Sample::Undecided,
        task,
    )?;
    let sealed = assignment_mut(task, e.assignment)?;
    ensure(matches!(sealed.stage, Stage::Committed(_)), || {
        format!("trust in assignment {} without a result", e.assignment)
    })?;
    let assignment = e.assignment;
    match e.trust {
        Trust::Drawn {
            repeated: false, ..
        } => task.sample = Sample::Alone { assignment },
        Trust::Drawn { repeated: true, .. } => task.repeat(Some(assignment)),
        Trust::Denied { .. } => task.repeat(None),
    }
    refresh_open(state, e.task);
    Ok(())
}
