//! A node works on a lease: it starts, reports, saves checkpoints, fails, or falls silent.

use std::collections::BTreeMap;

use aevir_events::Timestamp;

use super::{Decision, close, settle};
use crate::{
    amount::{PPM, Points, Ppm},
    command::{Availability, FailureClass, LossReason},
    event::{
        AssignmentCheckpointed, AssignmentFailed, AssignmentLost, AssignmentProgressed,
        AssignmentReturned, AssignmentStarted, AvailabilityChanged, CloseReason, Event,
        PointsChanged, PointsReason,
    },
    ids::{AccountId, AssignmentId, NodeId},
    rejection::Rejection,
    report::BlobRef,
    state::{Assignment, Node, Stage, State, TASK_CHECKPOINT_BYTES_MAX, Task},
};

/// Characters of a progress note or a failure's message that are kept.
const NOTE_CHARS_MAX: usize = 400;
/// What is told of a comparison that failed.
const UNTOLD: &str = "what a comparison says of its failure is not kept";
/// A checkpoint's size, in bytes: one chunk of the guest interface, so that every node can hand it to a run.
pub const CHECKPOINT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The node's own assignment, while its lease lasts.
pub(super) fn leased_to(
    state: &State,
    node: NodeId,
    id: AssignmentId,
) -> Result<(&Task, &Assignment), Rejection> {
    let (task, assignment) = state.assignment(id).ok_or(Rejection::UnknownAssignment)?;
    if assignment.node != node {
        return Err(Rejection::UnknownAssignment);
    }
    if task.phase.is_final() {
        return Err(Rejection::LeaseEnded);
    }
    Ok((task, assignment))
}

fn active(
    state: &State,
    node: NodeId,
    id: AssignmentId,
) -> Result<(&Task, &Assignment), Rejection> {
    let (task, assignment) = leased_to(state, node, id)?;
    if assignment.is_active() {
        Ok((task, assignment))
    } else {
        Err(Rejection::LeaseEnded)
    }
}

pub(super) fn start(state: &State, node: NodeId, id: AssignmentId) -> Decision {
    let (task, assignment) = active(state, node, id)?;
    match assignment.stage {
        Stage::Leased => Ok(vec![
            AssignmentStarted {
                task: task.id,
                assignment: id,
            }
            .into(),
        ]),
        // Started before: the node asks again after a lost answer.
        Stage::Running { .. } => Ok(Vec::new()),
        Stage::Committed(_)
        | Stage::Shown(_)
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => Err(Rejection::LeaseEnded),
    }
}

pub(super) fn progress(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    ppm: Ppm,
    note: &str,
) -> Decision {
    let (task, assignment) = active(state, node, id)?;
    if !matches!(assignment.stage, Stage::Running { .. }) {
        return Err(Rejection::NotStarted);
    }
    if task.compares().is_some() {
        // How far it is, and its note, are of the compared results' making.
        return Ok(Vec::new());
    }
    let ppm = ppm.min(PPM as Ppm);
    Ok(vec![
        AssignmentProgressed {
            task: task.id,
            assignment: id,
            ppm,
            note: clip(note),
        }
        .into(),
    ])
}

pub(super) fn checkpoint(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    checkpoint: BlobRef,
) -> Decision {
    let (task, assignment) = active(state, node, id)?;
    if !matches!(assignment.stage, Stage::Running { .. }) {
        return Err(Rejection::NotStarted);
    }
    if task.compares().is_some() {
        let detail = "a comparison keeps none, for it would show what is compared".into();
        return Err(Rejection::CheckpointInvalid { detail });
    }
    if checkpoint.size.0 == 0 || checkpoint.size.0 > CHECKPOINT_BYTES_MAX {
        let detail = format!("its size must be 1 to {CHECKPOINT_BYTES_MAX} bytes");
        return Err(Rejection::CheckpointInvalid { detail });
    }
    if checkpoint.size.0 > task.checkpoint_room() {
        let most = TASK_CHECKPOINT_BYTES_MAX;
        return Err(Rejection::CheckpointsFull { most });
    }
    Ok(vec![
        AssignmentCheckpointed {
            task: task.id,
            assignment: id,
            checkpoint,
        }
        .into(),
    ])
}

pub(super) fn fail(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    class: FailureClass,
    message: &str,
    now: Timestamp,
) -> Decision {
    let (task, assignment) = active(state, node, id)?;
    // What has begun was compiled.
    let has_begun = matches!(assignment.stage, Stage::Running { .. });
    let class = match class {
        FailureClass::NotCompiled if has_begun => FailureClass::HostError,
        class => class,
    };
    let message = match task.compares() {
        // What the module says of it could be what it compared.
        Some(_) => UNTOLD.to_owned(),
        None => clip(message),
    };
    let failed = AssignmentFailed {
        task: task.id,
        assignment: id,
        class,
        message: message.clone(),
    };
    let blame = class.blames_module().then_some((node, class));
    Ok(after_attempt(
        state,
        task,
        id,
        vec![failed.into()],
        blame,
        (&message, now),
    ))
}

/// A node that stops gives a run back. It is free as long as the task and the node have not had too much of that; beyond that it
/// counts as a failure of the node. Either way the node is gone until it is heard from again.
pub(super) fn give_back(state: &State, node: NodeId, id: AssignmentId, now: Timestamp) -> Decision {
    let (task, _) = active(state, node, id)?;
    let node = state.nodes.get(&node).ok_or(Rejection::UnknownNode)?;
    let counted = !is_free_return(state, task, node);
    let returned = AssignmentReturned {
        task: task.id,
        assignment: id,
        counted,
    };
    let mut events: Vec<Event> = vec![returned.into()];
    if counted {
        let last = "the node gave it back, as often before";
        events = after_attempt(state, task, id, events, None, (last, now));
    }
    if node.availability == Availability::Online {
        let (node, availability) = (node.id, Availability::Offline);
        events.push(AvailabilityChanged { node, availability }.into());
    }
    Ok(events)
}

/// Whether a return costs neither the task an attempt nor the node its record.
fn is_free_return(state: &State, task: &Task, node: &Node) -> bool {
    let of_task = &state.policy_of(task).scheduling.returns;
    let per_node = state.scheduling().returns.per_slot;
    let most = u64::from(per_node) * u64::from(node.slots());
    task.free_returns() < of_task.per_task
        && u64::from(node.returns.in_epoch(state.epochs.last)) < most
}

pub(super) fn lose(
    state: &State,
    id: AssignmentId,
    reason: LossReason,
    now: Timestamp,
) -> Decision {
    let mut events = lost(state, id, reason, &mut BTreeMap::new(), now)?;
    let node = state.assignment(id).map(|(_, a)| a.node);
    let node = node.and_then(|id| state.nodes.get(&id));
    // It gets nothing more until it is heard from.
    let online = |n: &&Node| n.availability == Availability::Online;
    if let Some(node) = node.filter(online) {
        let (node, availability) = (node.id, Availability::Offline);
        events.push(AvailabilityChanged { node, availability }.into());
    }
    Ok(events)
}

/// A lease is lost. `costs` are the compute points that losses before it in the same decision cost.
pub(super) fn lost(
    state: &State,
    id: AssignmentId,
    reason: LossReason,
    costs: &mut BTreeMap<AccountId, i64>,
    now: Timestamp,
) -> Decision {
    let (task, assignment) = state.assignment(id).ok_or(Rejection::UnknownAssignment)?;
    // What was not revealed in time the round's end tells, and no command.
    if !assignment.is_active() || reason == LossReason::NotRevealed {
        return Err(Rejection::LeaseEnded);
    }
    // Who looked may not have heard of its start yet.
    if reason == LossReason::NotStarted && matches!(assignment.stage, Stage::Running { .. }) {
        return Err(Rejection::Started);
    }
    let mut events: Vec<Event> = vec![
        AssignmentLost {
            task: task.id,
            assignment: id,
            reason,
        }
        .into(),
    ];
    if let Some(node) = state.nodes.get(&assignment.node) {
        let cost = costs.entry(node.owner).or_default();
        let left = state.points(node.owner, task.track()) - *cost;
        let loss = state.policy_of(task).points.lost.0.min(left);
        if loss > 0 {
            *cost += loss;
            let changed = PointsChanged {
                account: node.owner,
                track: task.track(),
                delta: Points(-loss),
                reason: PointsReason::LeaseLost,
                task: task.id,
                assignment: Some(id),
            };
            events.push(changed.into());
        }
    }
    let last = match reason {
        LossReason::NotStarted => "the node did not start it",
        LossReason::Silent => "the node fell silent",
        LossReason::Revoked => "the node was revoked",
        LossReason::NotRevealed => UNREVEALED,
    };
    Ok(after_attempt(state, task, id, events, None, (last, now)))
}

/// The time to reveal is over, and nothing that was sealed for a task without a sample was shown. Each of it is a lost attempt that costs
/// what a result costs that is not revealed, and the task goes on.
pub(super) fn unrevealed(state: &State, task: &Task, now: Timestamp) -> Vec<Event> {
    let sealed = task.assignments.values();
    let sealed = sealed.filter(|a| matches!(a.stage, Stage::Committed(_)));
    let sealed: Vec<AssignmentId> = sealed.map(|a| a.id).collect();
    let lost = sealed.iter().map(|id| {
        let (task, assignment) = (task.id, *id);
        let reason = LossReason::NotRevealed;
        AssignmentLost {
            task,
            assignment,
            reason,
        }
        .into()
    });
    let mut events: Vec<Event> = lost.collect();
    let refused = settle::refused_points(state, task, &sealed, &events);
    events.extend(refused);
    let spent = usize::try_from(task.attempts_spent).unwrap_or(usize::MAX);
    let spent = spent.saturating_add(sealed.len());
    if spent >= task.definition.retry.max_attempts as usize {
        let detail = format!("{spent} attempts are spent; the last: {UNREVEALED}");
        let reason = CloseReason::AttemptsSpent;
        events.extend(close::close(
            state, task, reason, &detail, &sealed, None, now,
        ));
    }
    events
}

/// What the detail of a task says whose last result was not revealed.
const UNREVEALED: &str = "the node did not reveal its result";

/// After a failed or lost attempt: the slot is open again, or the attempts are spent and the task fails.
fn after_attempt(
    state: &State,
    task: &Task,
    ended: AssignmentId,
    mut events: Vec<Event>,
    blame: Option<(NodeId, FailureClass)>,
    (last, now): (&str, Timestamp),
) -> Vec<Event> {
    let spent = task.assignments.get(&ended).map(|a| task.attempts_after(a));
    if spent.is_some_and(|spent| spent >= task.definition.retry.max_attempts) {
        let detail = format!(
            "{} attempts are spent; the last: {last}",
            spent.unwrap_or_default()
        );
        events.extend(close::close(
            state,
            task,
            CloseReason::AttemptsSpent,
            &clip(&detail),
            &[ended],
            blame,
            now,
        ));
    }
    events
}

fn clip(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(NOTE_CHARS_MAX)
        .collect()
}
