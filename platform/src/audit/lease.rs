//! Leases: a node got one that was eligible, ranked well enough, and whose turn it was. Which one of several such nodes
//! was drawn followed from entropy that is not in the log.

use aevir_events::Recorded;

use super::{Counts, Fault, Flaw};
use crate::{
    event::{AssignmentLeased, Event},
    ids::TaskId,
    schedule,
    state::{Node, State},
};

/// The leases that a plan gives out when it draws what the log says was drawn.
pub(super) fn expected(
    state: &State,
    batch: &[&Recorded<Event>],
    counts: &mut Counts,
) -> Result<Vec<Event>, Fault> {
    let Some(now) = batch.first().map(|r| r.time) else {
        return Ok(Vec::new());
    };
    let mut left = batch.iter().peekable();
    let mut fault = None;
    let end = batch.last().map_or(0, |r| r.position + 1);
    let events = schedule::place(state, now, |task, candidates| {
        if candidates.is_empty() || fault.is_some() {
            return None;
        }
        let position = left.peek().map_or(end, |r| r.position);
        let Some((lease, _)) = left.peek().and_then(|r| Some((leased(&r.event)?, r))) else {
            fault = Some(passed_over(position, task.id, &candidates));
            return None;
        };
        if lease.task != task.id {
            fault = Some(passed_over(position, task.id, &candidates));
            return None;
        }
        counts.draws_taken += u64::from(candidates.len() > 1);
        let Some(node) = candidates.into_iter().find(|n| n.id == lease.node) else {
            fault = Some(Fault {
                position,
                flaw: Flaw::Rule(not_eligible(state, lease, now)),
            });
            return None;
        };
        left.next();
        Some((node, lease.assignment))
    });
    fault.map_or(Ok(events), Err)
}

fn leased(event: &Event) -> Option<&AssignmentLeased> {
    if let Event::AssignmentLeased(lease) = event {
        Some(lease)
    } else {
        None
    }
}

fn passed_over(position: u64, task: TaskId, candidates: &[&Node]) -> Fault {
    let nodes = candidates.len();
    let text = format!("task {task} was passed over, though {nodes} nodes could take it");
    Fault {
        position,
        flaw: Flaw::Rule(text),
    }
}

fn not_eligible(state: &State, lease: &AssignmentLeased, now: aevir_events::Timestamp) -> String {
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
