//! Placement in its readable form: what a plan must do, one task and one node at a time.
//!
//! Slow and plain. Nothing but tests calls it; they hold the planner that works on indexes equal to it, event for event.
//! `docs/audit/recompute.py` says the same once more, in another language.

use aevir_events::{Context, Timestamp};

use super::{
    Draw, Ticket, charge,
    filter::{free_slots, refusal_given},
    held,
    needs::Needs,
    queue, reserved_ms, score, tail, urn_of,
};
use crate::{
    event::{AssignmentLeased, Event},
    ids::{AccountId, AssignmentId, NodeId},
    state::{Assignment, Node, Pace, Phase, State, Task},
};

/// What a plan gave so far.
type Gifts<'a> = Vec<(&'a Task, NodeId)>;

/// The events of a plan.
pub fn plan(state: &State, context: &Context) -> Vec<Event> {
    let Some((epoch, urn)) = urn_of(state, context) else {
        return Vec::new();
    };
    let mut ids = context.ids();
    let mut given: Gifts<'_> = Vec::new();
    let mut events = Vec::new();
    let most = state.scheduling().placements_max as usize;
    let mut give = |task: &Task, ticket: Ticket, doubles, candidates: &[&Node]| {
        let of = candidates.len() as u32;
        let node = candidates[ticket.index(&urn, of) as usize];
        let resume = task.resume_point();
        let leased = AssignmentLeased {
            task: task.id,
            assignment: AssignmentId(ids.ulid()),
            node: node.id,
            round: task.round,
            resume: resume.map(|c| c.blob),
            author: resume.map(|c| c.author),
            doubles,
            draw: Some(Draw {
                epoch,
                purpose: ticket.purpose,
                number: ticket.number,
                candidates: of,
            }),
        };
        events.push(leased.into());
        node.id
    };
    while given.len() < most {
        let Some((task, candidates)) = next(state, &given, context.time) else {
            break;
        };
        let ticket = Ticket::of(task, drawn_before(task, &given));
        let node = give(task, ticket, None, &candidates);
        given.push((task, node));
    }
    // What is left goes to duplicates of runs in danger, one a task, the one in danger for longest first.
    for (task, run) in in_danger(state, context.time) {
        let needs = tail::needs(state, task, run);
        let candidates = candidates(state, task, &needs, &given, context.time);
        if given.len() < most
            && held(state, task).is_none()
            && within_quota(state, task.requester, &given)
            && !candidates.is_empty()
        {
            let ticket = Ticket::tail(task, drawn_before(task, &given));
            let node = give(task, ticket, Some(run.id), &candidates);
            given.push((task, node));
        }
    }
    events
}

fn drawn_before(task: &Task, given: &Gifts<'_>) -> u32 {
    (task.assignments.len() + on_task(task, given)) as u32
}

/// The tasks that a run makes late, with that run, that a plan looks at.
fn in_danger(state: &State, now: Timestamp) -> Vec<(&Task, &Assignment)> {
    let mut found: Vec<(Timestamp, &Task, &Assignment)> = state
        .tasks
        .values()
        .filter_map(|task| tail::endangered(state, task).map(|(at, run)| (at, task, run)))
        .filter(|(at, ..)| *at <= now)
        .collect();
    found.sort_unstable_by_key(|(at, task, _)| (*at, task.id));
    // Where there are more than a plan looks at, each has its second.
    let (first, most) = tail::window(state, found.len(), now);
    found.rotate_left(first);
    found.truncate(most);
    found
        .into_iter()
        .map(|(_, task, run)| (task, run))
        .collect()
}

fn within_quota(state: &State, requester: AccountId, given: &Gifts<'_>) -> bool {
    let of = |(task, _): &&(&Task, NodeId)| task.requester == requester;
    let running = state.running(requester) as usize + given.iter().filter(of).count();
    running < state.limits_of(requester).running_max as usize
}

/// The next task that a node can take, and the nodes that it is drawn among.
fn next<'a>(
    state: &'a State,
    given: &Gifts<'_>,
    now: Timestamp,
) -> Option<(&'a Task, Vec<&'a Node>)> {
    let mut requesters: Vec<(u64, AccountId)> = Vec::new();
    for requester in state.accounts.keys() {
        requesters.push((used(state, *requester, given), *requester));
    }
    // Whoever has used least, by weight, is served first.
    requesters.sort_unstable();
    for (_, requester) in requesters {
        if !within_quota(state, requester, given) {
            continue;
        }
        let waiting = state
            .tasks_of(requester)
            .filter(|t| may_place(t, given) && held(state, t).is_none());
        let mut waiting: Vec<&Task> = waiting.collect();
        waiting.sort_unstable_by_key(|task| (queue::turn(state, task), task.id));
        for task in waiting {
            let needs = Needs::of(task, &state.policy_of(task));
            let candidates = candidates(state, task, &needs, given, now);
            if !candidates.is_empty() {
                return Some((task, candidates));
            }
        }
    }
    None
}

/// What a requester has used, with what this plan gave.
fn used(state: &State, requester: AccountId, given: &Gifts<'_>) -> u64 {
    let weight = state.limits_of(requester).weight;
    let of = given.iter().filter(|(task, _)| task.requester == requester);
    of.fold(state.turn_of(requester), |used, (task, _)| {
        used.saturating_add(charge(reserved_ms(task), weight))
    })
}

/// Whether one more replica of a task may be placed: while some are missing, and, where they go one after the other, none of
/// them runs.
fn may_place(task: &Task, given: &Gifts<'_>) -> bool {
    let given = on_task(task, given);
    let waits = matches!(task.phase, Phase::Queued | Phase::Running);
    let is_missing = (task.filled() as usize + given) < task.replicas_wanted as usize;
    let none_runs = !task.assignments.values().any(Assignment::is_active) && given == 0;
    waits && is_missing && (task.pace == Pace::AtOnce || none_runs)
}

fn on_task(task: &Task, given: &Gifts<'_>) -> usize {
    given.iter().filter(|(of, _)| of.id == task.id).count()
}

/// The nodes that the next replica of a task is drawn among, in the order of their registration: those that can take it,
/// and of them only the best and its near-equals where the task is not replicated.
fn candidates<'a>(
    state: &'a State,
    task: &Task,
    needs: &Needs,
    given: &Gifts<'_>,
    now: Timestamp,
) -> Vec<&'a Node> {
    let fits = |node: &&Node| refusal_given(state, task, needs, node, given, now).is_none();
    let mut fit: Vec<&Node> = state.nodes.values().filter(fits).collect();
    fit.sort_unstable_by_key(|node| node.ordinal);
    if needs.sampled {
        return fit;
    }
    let level = |node: &Node| level(state, needs, node, given);
    let best = fit.iter().map(|node| level(node)).max().unwrap_or(0);
    let floor = best.saturating_sub(state.scheduling().score.near_levels);
    fit.retain(|node| level(node) >= floor);
    fit
}

/// How good a node is for needs.
fn level(state: &State, needs: &Needs, node: &Node, given: &Gifts<'_>) -> u32 {
    let policy = &state.scheduling().score;
    let hardware = node.hardware(needs.gpu.is_some());
    let fixed = score::fixed(node, needs.kind, &hardware, policy);
    let idle = score::idle(free_slots(node, given), node.slots(), policy);
    let base = score::level(fixed + idle, policy);
    let cached = needs.data.is_some_and(|data| node.cached.contains(&data));
    let in_time = needs.in_time_mfuel_s > 0 && node.mfuel_s() >= needs.in_time_mfuel_s;
    let ask = u64::try_from(node.terms.ask(needs.kind).0).unwrap_or(0);
    base + u32::from(cached) * policy.cached_levels
        + u32::from(in_time) * policy.in_time_levels
        + score::price_levels(needs.price, ask, policy)
}
