//! Placement in its readable form: what a plan must do, one task and one node at a time.
//!
//! Slow and plain. Nothing but tests calls it; they hold the planner that works on indexes equal to it, event for event.
//! `docs/audit/recompute.py` says the same once more, in another language.

use aevir_events::{Context, Timestamp};

use super::{
    Draw, Ticket, charge_of,
    filter::{free_slots, refusal_given},
    held,
    needs::Needs,
    queue::{self, Line},
    reserve::{self, Reservations},
    score, tail, urn_of,
};
use crate::{
    event::{AssignmentLeased, Event, TaskReserved},
    ids::{AccountId, AssignmentId, NodeId, TaskId},
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
        let weight = |index: u32| score::election_weight(state, task, candidates[index as usize]);
        let choice = ticket.choose(&urn, of, weight);
        let node = candidates[choice.index as usize];
        let with_gpu = task.definition.qos.gpu.is_some();
        let resume = task.resume_point(&node.hardware(with_gpu));
        let leased = AssignmentLeased {
            task: task.id,
            assignment: AssignmentId(ids.ulid()),
            node: node.id,
            round: task.round,
            resume: resume.map(|c| c.blob),
            author: resume.map(|c| c.author),
            doubles,
            price: task
                .definition
                .asked_price(node.terms.ask(task.definition.kind)),
            draw: Some(Draw {
                epoch,
                purpose: ticket.purpose,
                number: ticket.number,
                candidates: of,
                passed: choice.passed,
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
    if given.len() < most {
        events.extend(reservations(state, &given, context.time));
    }
    events
}

/// Nodes that are kept free from here on for tasks that found none and have waited for long.
fn reservations(state: &State, given: &Gifts<'_>, now: Timestamp) -> Vec<Event> {
    let free = |node: &Node| state.takes_work(node);
    if !state.nodes.values().any(free) {
        return Vec::new();
    }
    let mut requesters: Vec<AccountId> = state.accounts.keys().copied().collect();
    requesters.retain(|requester| within_quota(state, *requester, given));
    requesters.sort_unstable_by_key(|requester| (state.turn_of(*requester), *requester));
    let stuck = |requester: AccountId| {
        let tasks = stuck(state, requester, given, now).into_iter();
        tasks.map(move |task| (requester, task.id))
    };
    let stuck: Vec<(AccountId, TaskId)> = requesters.into_iter().flat_map(stuck).collect();
    let mut made = Reservations::of(state, now);
    let mut events = Vec::new();
    for (requester, id) in made.looked_at(state, stuck, now) {
        if !made.may_have(requester) {
            continue;
        }
        let task = &state.tasks[&id];
        let needs = Needs::of(task, &state.policy_of(task));
        let fits = |node: &&Node| {
            reserve::takes_idle(state, task, &needs, node, &[], now)
                && !made.nodes.contains(&node.id)
        };
        let mut nodes: Vec<&Node> = state.nodes.values().filter(fits).collect();
        nodes.sort_unstable_by_key(|node| node.ordinal);
        let most = state.scheduling().reserve.nodes_max as usize;
        let (first, most) = tail::window(nodes.len(), most, now);
        nodes.rotate_left(first);
        nodes.truncate(most);
        if let Some(node) = reserve::choose(state, &needs, nodes, given, now) {
            made.make(requester, node);
            events.push(TaskReserved { task: id, node }.into());
        }
    }
    events
}

/// A requester's tasks that found no node though the plan looked at them, and have waited for long: the first of each line.
fn stuck<'a>(
    state: &'a State,
    requester: AccountId,
    given: &Gifts<'_>,
    now: Timestamp,
) -> Vec<&'a Task> {
    let mut tasks = looked_at(state, requester, given, now);
    tasks.retain(|task| may_place(task, given) && on_task(task, given) == 0);
    let mut lines: Vec<Line> = Vec::new();
    tasks.retain(|task| {
        let line = Line::of(state, task);
        let is_first = !lines.contains(&line);
        lines.push(line);
        is_first
    });
    let policy = &state.scheduling().reserve;
    tasks.retain(|task| reserve::is_due(task, policy, now) && held(state, task).is_none());
    tasks
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
    let most = state.scheduling().tail.looks_max as usize;
    let (first, most) = tail::window(found.len(), most, now);
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
        let mut waiting = looked_at(state, requester, given, now);
        waiting.retain(|t| may_place(t, given) && held(state, t).is_none());
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

/// The tasks of a requester that a plan looks at, in their turn: those of its first lines, and where these gave nothing those of
/// others, which follow on one another with each second.
fn looked_at<'a>(
    state: &'a State,
    requester: AccountId,
    given: &Gifts<'_>,
    now: Timestamp,
) -> Vec<&'a Task> {
    let waiting = state.tasks_of(requester);
    let mut waiting: Vec<&Task> = waiting.filter(|t| may_place(t, &Vec::new())).collect();
    waiting.sort_unstable_by_key(|task| (queue::turn(state, task), task.id));
    // In the order of their first tasks.
    let mut lines: Vec<(Line, Vec<&Task>)> = Vec::new();
    for task in waiting {
        let line = Line::of(state, task);
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, tasks)) => tasks.push(task),
            None => lines.push((line, vec![task])),
        }
    }
    let most = state.scheduling().lines_max as usize;
    let first = queue::others_from(lines.len(), most, now);
    let gave = |(_, tasks): &(Line, Vec<&Task>)| tasks.iter().any(|t| on_task(t, given) > 0);
    let is_settled = lines.iter().take(most).any(gave);
    let of_others = |n: usize| !is_settled && (first..first + most).contains(&n);
    let looked_at = lines.into_iter().enumerate();
    let looked_at = looked_at.filter(|(n, _)| *n < most || of_others(*n));
    let mut tasks: Vec<&Task> = looked_at.flat_map(|(_, (_, tasks))| tasks).collect();
    tasks.sort_unstable_by_key(|task| (queue::turn(state, task), task.id));
    tasks
}

/// What a requester has used, with what this plan gave.
fn used(state: &State, requester: AccountId, given: &Gifts<'_>) -> u64 {
    let weight = state.limits_of(requester).weight;
    let of = given.iter().filter(|(task, _)| task.requester == requester);
    of.fold(state.turn_of(requester), |used, (task, node)| {
        let node = &state.nodes[node];
        used.saturating_add(charge_of(state, task, node, weight))
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
    let in_time = needs.in_time_mfuel_s > 0 && node.shown_mfuel_s() >= needs.in_time_mfuel_s;
    let ask = u64::try_from(node.terms.ask(needs.kind).0).unwrap_or(0);
    base + u32::from(cached) * policy.cached_levels
        + u32::from(in_time) * policy.in_time_levels
        + score::price_levels(needs.price, ask, policy)
}
