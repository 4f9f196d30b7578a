//! What is due by time alone, or because another task ended: bounded in how much one tick decides.

use std::collections::BTreeSet;

use aevir_events::{Context, Timestamp};

use super::{
    close::{close, expire},
    epoch, maturity, node, review,
    submit::resolve_inputs,
    verdict,
};
use crate::{
    closed::Keys,
    event::{CloseReason, Event, TaskHastened, TaskQueued},
    ids::TaskId,
    state::{Phase, State},
};

/// Tasks of a kind that one tick decides; the rest is due again at once.
const DUE_MAX: usize = 64;
/// With so many events a tick takes on nothing more: the log takes 10,000 of one command, and all that is due would wait for ever behind a
/// tick that it does not take. What one task can bring stays far below the difference: its shares are bounded.
const EVENTS_MAX: usize = 4_000;
/// Verdicts that are looked at again among them: each brings a task with all its definition.
const RECALLS_MAX: usize = 8;
/// Verdicts among them. One, because a verdict takes points and registers models: the next one has to see what it left.
const VERDICTS_MAX: usize = 1;

pub(super) fn tick(state: &State, context: &Context) -> Vec<Event> {
    let mut events = epoch::turn(state, context);
    // What is due may cost points and move the treasury's money, and goes by the state before the tick: where an epoch has just closed, the
    // next tick decides it, which follows at once.
    if !events.iter().any(closes_epoch) {
        let keys = Keys::Leader(&context.secret);
        events.extend(due(state, context, &keys));
    }
    events
}

/// Points fade and a pool takes its part of the treasury.
pub(crate) fn closes_epoch(event: &Event) -> bool {
    matches!(event, Event::EpochClosed(_))
}

/// What is due of tasks; an audit has other keys than a leader.
pub(crate) fn due(state: &State, context: &Context, keys: &Keys<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut done: BTreeSet<TaskId> = BTreeSet::new();
    let now = context.time;
    let due = |index: &BTreeSet<(Timestamp, TaskId)>, most: usize| -> Vec<TaskId> {
        index
            .iter()
            .take_while(|(time, _)| *time <= now)
            .take(most)
            .map(|(_, id)| *id)
            .collect()
    };
    for id in due(&state.index.reveals, VERDICTS_MAX) {
        if let Some(task) = state.tasks.get(&id).filter(|_| done.insert(id)) {
            events.extend(verdict::judge(state, task, None, context, keys).events());
        }
    }
    if done.is_empty() {
        for id in state.index.inspected.iter().take(VERDICTS_MAX) {
            if let Some(task) = state.tasks.get(id).filter(|_| done.insert(*id)) {
                events.extend(verdict::inspected(state, task, context, keys));
            }
        }
    }
    for id in due(&state.index.deadlines, DUE_MAX) {
        if events.len() >= EVENTS_MAX {
            return events;
        }
        if let Some(task) = state.tasks.get(&id).filter(|_| done.insert(id)) {
            events.extend(expire(state, task, context));
        }
    }
    for id in state.index.rounds.due(now).take(DUE_MAX) {
        if let Some(task) = state.tasks.get(&id).filter(|_| done.insert(id)) {
            events.push(super::result::round_closed(state, task, context).into());
        }
    }
    for task in state.index.hastens.due(now).take(DUE_MAX) {
        if done.insert(task) {
            events.push(TaskHastened { task }.into());
        }
    }
    for id in state.index.unblocked.iter().take(DUE_MAX) {
        if events.len() >= EVENTS_MAX {
            return events;
        }
        if done.insert(*id) {
            events.extend(unblock(state, *id, now));
        }
    }
    // A verdict may show what is to be looked at again, and not to mature: the next tick decides that, which follows at once.
    if !events.iter().any(|e| matches!(e, Event::TaskVerified(_))) {
        mature(
            state,
            due(&state.index.maturing, DUE_MAX),
            context,
            &mut events,
        );
    }
    events.extend(node::departures(state));
    events
}

/// Verdicts that are looked at again, because their nodes were caught or nothing vouches for them, and those that mature.
fn mature(state: &State, maturing: Vec<TaskId>, context: &Context, events: &mut Vec<Event>) {
    let (mut ids, now) = (context.ids(), context.time);
    let mut reviews = RECALLS_MAX;
    for id in state.index.recalls.iter().take(RECALLS_MAX) {
        let task = state.tasks.get(id);
        let recalled = task.and_then(|task| review::recall(state, task, TaskId(ids.ulid()), now));
        reviews -= usize::from(recalled.is_some());
        events.extend(recalled.into_iter().flatten());
    }
    for id in maturing {
        if events.len() >= EVENTS_MAX {
            return;
        }
        let task = state.tasks.get(&id);
        match task.filter(|task| review::rests_on_unvouched(state, task).is_some()) {
            None => events.extend(maturity::due(state, id)),
            Some(task) if reviews > 0 => {
                reviews -= 1;
                let review = TaskId(ids.ulid());
                events.extend(
                    review::vouch(state, task, review, now)
                        .into_iter()
                        .flatten(),
                );
            }
            // It is due still.
            Some(_) => {}
        }
    }
}

/// A task one of whose dependencies ended: it is queued once all have settled, and closed if one can't.
fn unblock(state: &State, id: TaskId, now: Timestamp) -> Vec<Event> {
    let Some(task) = state.tasks.get(&id) else {
        return Vec::new();
    };
    let ended = |d: &&crate::definition::Dependency| {
        state
            .tasks
            .get(&d.task)
            .is_some_and(|t| t.phase.is_final() && !matches!(t.phase, Phase::Settled { .. }))
    };
    if let Some(dependency) = task.definition.depends_on.iter().find(ended) {
        let detail = format!("task {} did not settle", dependency.task);
        return close(
            state,
            task,
            CloseReason::DependencyFailed,
            &detail,
            &[],
            None,
            now,
        );
    }
    match resolve_inputs(state, &task.definition, &[]) {
        Ok(inputs) => vec![TaskQueued { task: id, inputs }.into()],
        Err(detail) => close(
            state,
            task,
            CloseReason::DependencyFailed,
            &detail,
            &[],
            None,
            now,
        ),
    }
}
