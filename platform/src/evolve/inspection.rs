//! Results that verifiers look at before their verdict.

use aevir_events::Corrupt;

use super::{
    ensure,
    task::{expect, task_mut, task_ref, under_verification},
};
use crate::{
    amount::Amount,
    decide::CHECKED_DEFINITION,
    event::{InspectionOpened, InspectionOrigin, TaskInspected},
    ids::{AssignmentId, TaskId},
    report::BlobRef,
    state::{Assignment, Inspection, InspectionOf, Phase, Revealed, State, Task},
};

pub(super) fn opened(state: &mut State, e: &InspectionOpened) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let reveal_by = under_verification(task)?;
    expect(inspected(task, e.assignment).is_some(), task)?;
    task.phase = Phase::Inspecting;
    task.inspections.push(Inspection {
        by: e.inspection,
        method: e.method,
        assignment: e.assignment,
        escrow: e.escrow,
        outcome: None,
    });
    ensure(task.held() >= Amount::ZERO, || {
        format!(
            "the verifiers of task {} get more than its escrow holds",
            e.task
        )
    })?;
    if let Some(reveal_by) = reveal_by {
        state.index.reveals.remove(&(reveal_by, e.task));
    }
    Ok(())
}

pub(super) fn inspected_by(state: &mut State, e: &TaskInspected) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    expect(task.phase == Phase::Inspecting, task)?;
    let mut open = task.inspections.iter_mut();
    let open = open.find(|i| i.by == e.inspection && i.outcome.is_none());
    let open = open.ok_or_else(|| {
        Corrupt(format!(
            "task {} is inspected amiss by task {}",
            e.task, e.inspection
        ))
    })?;
    open.outcome = Some(e.outcome);
    if task.is_inspected() {
        state.index.inspected.insert(e.task);
    }
    Ok(())
}

/// What is added to a task that verifiers work on.
pub(super) fn inspecting(
    state: &State,
    task: &mut Task,
    origin: Option<InspectionOrigin>,
) -> Result<(), Corrupt> {
    let of = origin.map(|origin| look(state, task.id, origin));
    task.inspects = of.transpose()?;
    Ok(())
}

fn look(state: &State, id: TaskId, origin: InspectionOrigin) -> Result<InspectionOf, Corrupt> {
    let task = task_ref(state, origin.task)?;
    let mut open = task.inspections.iter();
    let found = open.find(|i| i.by == id && i.method == origin.method);
    let found = found.and_then(|i| inspected(task, i.assignment));
    let (assignment, revealed) =
        found.ok_or_else(|| Corrupt(format!("task {} has no result to look at", origin.task)))?;
    let brought = task.assignments.values();
    let brought = brought.filter(|a| a.commitment().is_some() && !state.is_private(task));
    Ok(InspectionOf {
        task: origin.task,
        method: origin.method,
        involved: brought.map(|a| a.node).collect(),
        class: assignment.hardware.gpu().map(str::to_owned),
        agreed: revealed.report.agreement_key(),
    })
}

/// The definition that a check opens, among the inputs of the verifiers' task.
pub(super) fn checked_definition(task: &Task) -> Option<BlobRef> {
    let mut inputs = task.inputs.iter().filter(|_| task.inspects.is_some());
    let found = inputs.find(|input| input.name == CHECKED_DEFINITION)?;
    Some(BlobRef {
        digest: found.digest,
        size: found.size,
    })
}

/// The result that verifiers look at.
fn inspected(task: &Task, id: AssignmentId) -> Option<(&Assignment, &Revealed)> {
    let assignment = task.assignments.get(&id)?;
    Some((assignment, assignment.opened()?))
}
