//! What is closed until the verdict: nothing can be told of it until then but that it is called for, and everything afterwards.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Recorded;

use super::{Counts, Fault, Flaw};
use crate::{
    closed::Keys,
    decide::{self, FILES_MAX, uploading},
    event::{AssignmentShown, Event, OutputClosed},
    ids::{AssignmentId, NodeId},
    policy::Policy,
    rejection::Rejection,
    report::Report,
    state::{Phase, Stage, State, Task},
};

/// The keys that a batch discloses.
pub(super) fn disclosed<'a>(batch: &[&Recorded<Event>]) -> Keys<'a> {
    let keys = batch.iter().filter_map(|r| {
        if let Event::AssignmentRevealed(e) = &r.event {
            Some((e.report.assignment, e.key?))
        } else {
            None
        }
    });
    Keys::Told(keys.collect())
}

/// An output of which nobody but the leaders knows what it is.
pub(super) fn output(state: &State, node: NodeId, e: &OutputClosed) -> Result<Vec<Event>, Flaw> {
    let (task, assignment) = uploading(state, node, e.assignment)?;
    let mut earlier = assignment.closed_outputs.iter();
    let is_known = earlier.any(|output| output.seal == e.output.seal);
    if !state.is_closed(task) || is_known || assignment.closed_outputs.len() >= FILES_MAX {
        let text = "an output is kept closed, and nothing calls for it";
        return Err(Flaw::Rule(text.into()));
    }
    Ok(vec![e.clone().into()])
}

/// A result that is kept closed, and what follows from it: nothing while others of its round are to be revealed, and else one more
/// replica, for a verdict would have opened it. Whether one was called for shows once it is opened.
pub(super) fn shown(
    state: &State,
    node: NodeId,
    first: &AssignmentShown,
    batch: &[&Recorded<Event>],
) -> Result<Vec<Event>, Flaw> {
    let rule = |text: &str| Err(Flaw::Rule(text.into()));
    let Some((task, assignment)) = state.assignment(first.assignment) else {
        return Err(Rejection::UnknownAssignment.into());
    };
    let is_sealed = matches!(assignment.stage, Stage::Committed(_));
    let is_in_time =
        matches!(task.phase, Phase::Verifying { .. }) && assignment.round == task.round;
    if !state.is_closed(task) || !is_sealed || !is_in_time || assignment.node != node {
        return rule("a result is kept closed, and nothing calls for it");
    }
    let parts = batch.iter().map_while(|r| {
        let is_part =
            matches!(&r.event, Event::AssignmentShown(e) if e.assignment == first.assignment);
        is_part.then(|| r.event.clone())
    });
    let mut events: Vec<Event> = parts.collect();
    if !decide::awaits_reveals(task, assignment) {
        let Some(extended) = decide::extended(task) else {
            return rule("the last result of the sample is kept closed, though its verdict is due");
        };
        events.push(extended);
    }
    Ok(events)
}

/// What a batch leaves closed, opens, and lost; and where it brings a verdict, whether the rounds before did disagree.
///
/// # Errors
/// An earlier round had a quorum.
pub(super) fn count(
    state: &State,
    batch: &[&Recorded<Event>],
    counts: &mut Counts,
) -> Result<(), Fault> {
    let Keys::Told(keys) = disclosed(batch) else {
        return Ok(());
    };
    // A large one has several parts, of which the first begins the batch.
    if let Some(Event::AssignmentShown(_)) = batch.first().map(|r| &r.event) {
        counts.reveals_closed += 1;
    }
    let mut told = BTreeSet::new();
    for recorded in batch {
        // What nodes agree on is opened for verifiers; what can't be opened then, is lost with the verdict.
        let (id, is_verdict) = if let Event::TaskVerified(e) = &recorded.event {
            (e.task, true)
        } else if let Event::InspectionOpened(e) = &recorded.event {
            (e.task, false)
        } else {
            continue;
        };
        let task = state.tasks.get(&id).filter(|task| state.is_closed(task));
        let Some(task) = task.filter(|task| told.insert(task.id)) else {
            continue;
        };
        let shown = task.assignments.values();
        for shown in shown.filter(|a| matches!(a.stage, Stage::Shown(_))) {
            let is_opened = keys.contains_key(&shown.id);
            counts.reveals_lost += u64::from(is_verdict && !is_opened);
            let is_told = u64::from(is_verdict || is_opened);
            counts.reveals_closed = counts.reveals_closed.saturating_sub(is_told);
        }
        if task.phase == Phase::Inspecting {
            continue;
        }
        rounds_disagreed(task, &state.policy_of(task), batch, counts).map_err(|text| Fault {
            position: recorded.position,
            flaw: Flaw::Rule(text),
        })?;
    }
    Ok(())
}

fn rounds_disagreed(
    task: &Task,
    policy: &Policy,
    batch: &[&Recorded<Event>],
    counts: &mut Counts,
) -> Result<(), String> {
    let reports: BTreeMap<AssignmentId, &Report> = batch
        .iter()
        .filter_map(|r| {
            if let Event::AssignmentRevealed(e) = &r.event {
                Some((e.report.assignment, e.report.as_ref()))
            } else {
                None
            }
        })
        .collect();
    for round in 1..task.round {
        let by_then = task.assignments.values().filter(|a| a.round <= round);
        let by_then = by_then.filter_map(|a| Some((a.id, *reports.get(&a.id)?)));
        if decide::agreed(task, policy, by_then).is_some() {
            let id = task.id;
            return Err(format!(
                "round {round} of task {id} had a quorum, and one more replica was drawn all the same"
            ));
        }
        counts.extensions += 1;
    }
    Ok(())
}
