//! What is closed until the verdict: nothing can be told of it until then but that it is called for, and everything afterwards.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::{Context, Recorded};

use super::{Counts, Fault, Flaw};
use crate::{
    closed::{Keys, Told},
    decide::{self, Agreement, FILES_MAX, Pair, uploading},
    event::{AssignmentShown, Event, OutputClosed},
    ids::{AssignmentId, NodeId},
    policy::Policy,
    rejection::Rejection,
    report::Report,
    state::{Assignment, Phase, Stage, State, Task},
};

/// What a batch discloses, and the results that are to be compared.
pub(super) fn disclosed<'a>(batch: &[&Recorded<Event>]) -> Keys<'a> {
    let mut told = Told::default();
    for recorded in batch {
        if let Event::AssignmentRevealed(e) = &recorded.event {
            told.keys
                .extend(e.key.map(|key| (e.report.assignment, key)));
        } else if let Event::InspectionOpened(e) = &recorded.event
            && let Some(against) = e.against
        {
            let pairs = told.compared.entry(e.task).or_default();
            pairs.push((e.assignment, against));
        }
    }
    Keys::Told(told)
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

/// A result that is kept closed, and what follows from it: nothing while others of its round are to be revealed, and else results that are
/// to be compared, or one more replica, for a verdict would have opened it. Whether that was called for shows once it is opened.
pub(super) fn shown(
    state: &State,
    node: NodeId,
    first: &AssignmentShown,
    batch: &[&Recorded<Event>],
    context: &Context,
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
    let keys = disclosed(batch);
    if let Some(pairs) = keys.compared(task.id) {
        if decide::awaits_reveals(task, assignment) {
            return rule("results are compared before all of their round are revealed");
        }
        events.extend(decide::compare_results(state, task, pairs, context));
    } else if !decide::awaits_reveals(task, assignment) {
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
    let Keys::Told(Told { keys, .. }) = disclosed(batch) else {
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
        } else if let Event::InspectionOpened(e) = &recorded.event
            && e.against.is_none()
        {
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
        if task.is_looked_at() {
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
    // What can't be opened any more, nobody can compare.
    let is_known =
        |a: &Assignment| reports.contains_key(&a.id) || !matches!(a.stage, Stage::Shown(_));
    let is_whole = task.assignments.values().all(is_known);
    for round in 1..=task.round {
        let until = |round: u32| {
            let by_then = task.assignments.values().filter(move |a| a.round <= round);
            by_then.filter_map(|a| Some((a.id, *reports.get(&a.id)?)))
        };
        let by_then: BTreeMap<AssignmentId, &Report> = until(round).collect();
        let before = |pair: Pair| task.compared(pair).filter(|_| round_of(task, pair) < round);
        let so_far = |pair: Pair| {
            task.compared(pair)
                .filter(|_| round_of(task, pair) <= round)
        };
        let called_for = match decide::agreement(task, policy, &by_then, before) {
            Agreement::Open(pairs) => pairs,
            Agreement::Reached { .. } | Agreement::None => Vec::new(),
        };
        let id = task.id;
        let mut compared: Vec<Pair> = compared_in(task, round).collect();
        compared.sort_unstable();
        if is_whole && compared != called_for {
            return Err(format!(
                "round {round} of task {id} called for {} comparisons, and others were made, or {} of them",
                called_for.len(),
                compared.len()
            ));
        }
        if round == task.round {
            break;
        }
        let agreement = decide::agreement(task, policy, &by_then, so_far);
        if let Agreement::Reached { .. } = agreement {
            return Err(format!(
                "round {round} of task {id} had a quorum, and one more replica was drawn all the same"
            ));
        }
        counts.extensions += 1;
    }
    Ok(())
}

/// The results that were compared once this round was complete.
fn compared_in(task: &Task, round: u32) -> impl Iterator<Item = Pair> + '_ {
    let pairs = task.inspections.iter();
    let pairs = pairs.filter_map(|i| Some((i.assignment, i.against?)));
    pairs.filter(move |pair| round_of(task, *pair) == round)
}

/// The round that brought the later one of two results.
fn round_of(task: &Task, (one, two): Pair) -> u32 {
    let round = |id| task.assignments.get(&id).map_or(0, |a| a.round);
    round(one).max(round(two))
}
