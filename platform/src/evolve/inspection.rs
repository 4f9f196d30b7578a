//! Results that verifiers look at before their verdict.

use aevir_events::Corrupt;

use super::{
    ensure,
    task::{expect, task_mut, task_ref, under_verification},
};
use crate::{
    amount::Amount,
    decide::CHECKED_DEFINITION,
    definition::Method,
    event::{InspectionOpened, InspectionOrigin, TaskInspected},
    ids::{AssignmentId, NodeId, TaskId},
    report::BlobRef,
    state::{Assignment, Inspection, InspectionOf, Phase, Revealed, Stage, State, Task},
};

pub(super) fn opened(state: &mut State, e: &InspectionOpened) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let reveal_by = under_verification(task)?;
    let is_there = match e.against {
        None => inspected(task, e.assignment).is_some(),
        // What is compared is closed still.
        Some(against) => {
            let results = [e.assignment, against].map(|id| task.assignments.get(&id));
            e.assignment != against && results.into_iter().all(|a| a.is_some_and(is_result))
        }
    };
    expect(is_there, task)?;
    task.phase = Phase::Inspecting;
    task.inspections.push(Inspection {
        by: e.inspection,
        method: e.method,
        assignment: e.assignment,
        against: e.against,
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
    // Its results were compared, and others are to look at what they agree on.
    state.index.inspected.remove(&e.task);
    Ok(())
}

/// It was revealed, and has no verdict yet.
fn is_result(assignment: &Assignment) -> bool {
    matches!(assignment.stage, Stage::Shown(_) | Stage::Revealed(_))
}

/// A node with a lease for a comparison can read what is compared.
pub(super) fn read(state: &mut State, inspection: TaskId, node: NodeId) -> Result<(), Corrupt> {
    let task = task_ref(state, inspection)?;
    let Some(of) = task.inspects.as_ref().filter(|of| of.compares.is_some()) else {
        return Ok(());
    };
    let of = of.task;
    if !state.is_private(task) {
        task_mut(state, of)?.readers.push(node);
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
    let nothing = || Corrupt(format!("task {} has no result to look at", origin.task));
    let found = found.ok_or_else(nothing)?;
    let brought = task.assignments.values();
    let brought = brought.filter(|a| a.commitment().is_some() && !state.is_private(task));
    let mut of = InspectionOf {
        task: origin.task,
        method: origin.method,
        compares: None,
        involved: brought.map(|a| a.node).collect(),
        class: None,
        agreed: None,
        risk: Amount::ZERO,
    };
    if let Some(against) = found.against {
        let pair = (found.assignment, against);
        let is_it = origin.compares.is_some_and(|of| (of.one, of.two) == pair);
        ensure(is_it, || {
            format!("task {id} compares other results than it was opened for")
        })?;
        of.compares = origin.compares;
        return Ok(of);
    }
    ensure(origin.compares.is_none(), || {
        format!("task {id} compares nothing that is known")
    })?;
    let (assignment, revealed) = inspected(task, found.assignment).ok_or_else(nothing)?;
    of.class = assignment.hardware.gpu().map(str::to_owned);
    of.agreed = Some(revealed.report.agreement_key());
    let method = task.definition.verification.get(found.method as usize);
    if matches!(method, Some(Method::Attestation { .. })) {
        of.risk = task.definition.economics.pricing.max_price();
        // Who has read the result for a comparison could copy it.
        of.involved.extend(&task.readers);
    }
    Ok(of)
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
