//! Leases: each went to the task whose turn it was, and to a node that it could be drawn among. Which of them it had to be
//! shows when the epoch's secret is disclosed ([`super::epoch`]).

use aevir_events::{Recorded, Timestamp};

use super::{Counts, Fault, Flaw, epoch::Kept};
use crate::{
    event::{AssignmentLeased, Event},
    schedule::{self, Candidates, Drawn, PASSED_MAX, Purpose, Ticket},
    state::{State, Task},
};

/// What the leases of one plan show.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) events: Vec<Event>,
    /// Draws whose secret is not known yet.
    pub(super) kept: Vec<Kept>,
}

/// The leases that a plan gives out when it draws what the log says was drawn.
pub(super) fn expected(
    state: &State,
    batch: &[&Recorded<Event>],
    counts: &mut Counts,
) -> Result<Leases, Fault> {
    let Some(first) = batch.first() else {
        return Ok(Leases::default());
    };
    if state.epochs.last == 0 {
        return of_old(state, batch, counts);
    }
    let mut left = batch.iter().peekable();
    let mut fault = None;
    let mut kept = Vec::new();
    let end = batch.last().map_or(0, |r| r.position + 1);
    let events = schedule::place(state, first.time, |task, ticket, candidates| {
        let position = left.peek().map_or(end, |r| r.position);
        let lease = left.peek().and_then(|r| leased(&r.event));
        let Some(lease) = lease.filter(|lease| lease.task == task.id) else {
            fault = passed_over(left.peek().is_none(), position, task, candidates);
            return None;
        };
        match drawn(
            state,
            task,
            ticket,
            candidates,
            lease,
            (position, first.time),
        ) {
            Ok((drawn, draw)) => {
                left.next();
                kept.push(draw);
                Some(drawn)
            }
            Err(text) => {
                fault = Some(Fault {
                    position,
                    flaw: Flaw::Rule(text),
                });
                None
            }
        }
    });
    fault.map_or(Ok(Leases { events, kept }), Err)
}

/// The lease in the log as a draw, unless it can't be one.
fn drawn(
    state: &State,
    task: &Task,
    ticket: Ticket,
    candidates: &Candidates<'_>,
    lease: &AssignmentLeased,
    (position, now): (u64, Timestamp),
) -> Result<(Drawn, Kept), String> {
    let (id, node) = (task.id, lease.node);
    let ordinal = state.nodes.get(&node).map(|n| n.ordinal);
    let index = ordinal.and_then(|ordinal| Some((ordinal, candidates.position(ordinal)?)));
    let Some((ordinal, index)) = index else {
        return Err(not_eligible(state, lease, now));
    };
    let epoch = state.epochs.open.as_ref().map(|open| open.number);
    // Who came up and was passed over is told by the secret, and not before.
    let passed = lease.draw.iter().flat_map(|draw| draw.passed.iter());
    let passed: Vec<u32> = match ticket.purpose {
        Purpose::Verifier => passed.copied().take(PASSED_MAX).collect(),
        Purpose::Run | Purpose::Replica | Purpose::Tail => Vec::new(),
    };
    let weight = |index: u32| schedule::weight(state, task, candidates, index);
    let weights = passed.iter().map(|index| (*index, weight(*index)));
    let weights: Vec<_> = weights.collect();
    let draw = epoch.map(|epoch| schedule::Draw {
        epoch,
        purpose: ticket.purpose,
        number: ticket.number,
        candidates: candidates.len(),
        passed: passed.clone(),
    });
    if draw.is_none() || lease.draw != draw {
        return Err(format!(
            "the draw of a node for task {id} says {:?}, and the rules call for {draw:?}",
            lease.draw
        ));
    }
    let drawn = Drawn {
        ordinal,
        assignment: lease.assignment,
        draw,
    };
    let kept = Kept {
        position,
        task: id,
        node,
        ticket,
        index,
        candidates: candidates.len(),
        passed: weights,
        weight: weight(index),
    };
    Ok((drawn, kept))
}

/// Leases from before there were epochs: placed in another order, and drawn by entropy that is not in the log.
fn of_old(state: &State, batch: &[&Recorded<Event>], counts: &mut Counts) -> Result<Leases, Fault> {
    let mut leases = Leases::default();
    for recorded in batch {
        let Some(lease) = leased(&recorded.event) else {
            break;
        };
        let found = state
            .tasks
            .get(&lease.task)
            .zip(state.nodes.get(&lease.node));
        let fits = found
            .is_some_and(|(task, node)| schedule::fitted_of_old(state, task, node, recorded.time));
        if !fits || lease.draw.is_some() || lease.doubles.is_some() || lease.author.is_some() {
            return Err(Fault {
                position: recorded.position,
                flaw: Flaw::Rule(not_eligible(state, lease, recorded.time)),
            });
        }
        counts.draws_taken += 1;
        leases.events.push(recorded.event.clone());
    }
    Ok(leases)
}

fn leased(event: &Event) -> Option<&AssignmentLeased> {
    if let Event::AssignmentLeased(lease) = event {
        Some(lease)
    } else {
        None
    }
}

fn passed_over(
    at_end: bool,
    position: u64,
    task: &Task,
    candidates: &Candidates<'_>,
) -> Option<Fault> {
    let (id, nodes) = (task.id, candidates.len());
    let what = if at_end {
        "was left out"
    } else {
        "was passed over"
    };
    let text = format!("task {id} {what}, though it was its turn and {nodes} nodes could take it");
    Some(Fault {
        position,
        flaw: Flaw::Rule(text),
    })
}

fn not_eligible(state: &State, lease: &AssignmentLeased, now: Timestamp) -> String {
    let (task, node) = (lease.task, lease.node);
    let found = state.tasks.get(&task).zip(state.nodes.get(&node));
    let why = match found {
        None => "one of them does not exist",
        Some((task, node)) => schedule::refusal(state, task, node, now).map_or(
            "other nodes rank clearly above it, or the plan had given it out",
            |refused| refused.code(),
        ),
    };
    format!("node {node} was not eligible for task {task}: {why}")
}
