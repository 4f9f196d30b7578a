//! One node's try at a task, from its lease to its end.

use std::sync::Arc;

use aevir_events::{Corrupt, Timestamp};

use super::{
    concurrency, ensure,
    epoch::{served, use_up},
    fleet::remember,
    inspection,
    node::{node_mut, refresh_node, unseal},
    record, reservation, stake,
    task::{assignment_mut, expect, refresh_open, resume_running, task_mut, task_ref},
    unseal::{discard, keep},
};
use crate::{
    amount::Amount,
    closed::{Keys, Told},
    command::LossReason,
    event::{
        AssignmentCommitted, AssignmentLeased, AssignmentLost, AssignmentProgressed,
        AssignmentReturned, AssignmentRevealed, AssignmentShown, AssignmentStarted,
        AssignmentWithdrawn, OutputClosed, OutputUploaded,
    },
    ids::{AssignmentId, NodeId, TaskId},
    schedule::{charge, compiling_of, held_ms, may_double, reserved_ms, room_of, slots_milli},
    state::{
        Assignment, Checkpoint, Commitment, Outcome, Phase, Revealed, Room, Sample, Shown, Stage,
        State, Task,
    },
};

pub(super) fn leased(
    state: &mut State,
    e: &AssignmentLeased,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let is_wanted = match e.doubles {
        // Logs of old have all of them placed at once; whose turn it was is for audits to tell.
        None => task.missing() > 0,
        Some(run) => may_double(state, task, run, at),
    };
    expect(is_wanted && task.round == e.round, task)?;
    let (requester, room) = (task.requester, room_of(state, task));
    // Before there were draws nodes found the memory for compiling beside what they had promised.
    let compiling = e.draw.as_ref().map(|_| compiling_of(state, task));
    let compiling = compiling.unwrap_or_default();
    let with_gpu = task.definition.qos.gpu.is_some();
    let reserved_ms = reserved_ms(task);
    let price = stake::price(state, task, e)?;
    let (pledged, is_staked) = stake::pledge(state, task, e.node, price);
    let weight = state.limits_of(requester).weight;
    let node = node_mut(state, e.node)?;
    let hardware = node.hardware(with_gpu);
    let slots_milli = slots_milli(room, node.room(), node.slots());
    let charged = charge(reserved_ms, slots_milli, weight);
    let task = task_mut(state, e.task)?;
    let saved = |c: &&Checkpoint| Some(c.blob) == e.resume;
    let resumed_run = task.checkpoints.iter().rev().find(saved).map(|c| c.by);
    let assignment = Assignment {
        id: e.assignment,
        node: e.node,
        round: e.round,
        leased_at: at,
        hardware,
        abreast: 0,
        slots_milli,
        charged,
        compiling,
        started_at: None,
        resume: e.resume,
        author: e.author,
        resumed_run,
        has_remade: false,
        doubles: e.doubles,
        overtaken: false,
        price,
        stake: pledged,
        is_staked,
        uploads: Vec::new(),
        closed_outputs: Vec::new(),
        sealed_mib: 0,
        stage: Stage::Leased,
    };
    task.phase = Phase::Running;
    let is_new = task.assignments.insert(assignment);
    ensure(is_new, || {
        format!("assignment {} leased twice", e.assignment)
    })?;
    state.index.task_of.insert(e.assignment, e.task);
    reservation::give_up(state, e.task);
    let is_of_old = e.draw.is_none();
    let takes = state.nodes.get(&e.node).is_some_and(|n| {
        state.takes_work(n)
            || (is_of_old && n.is_working() && n.active.len() < n.claimed_slots() as usize)
    });
    ensure(takes, || {
        format!("node {} takes no work or has no free slot", e.node)
    })?;
    stake::lock(state, e.node, pledged)?;
    let node = node_mut(state, e.node)?;
    node.active.insert(e.assignment);
    node.taken.add(room);
    node.taken.add(compiling);
    if e.doubles.is_none() {
        served(state, requester);
    }
    use_up(state, requester, |r| {
        r.reserved = r.reserved.saturating_add(charged);
        r.running += 1;
    });
    refresh_node(state, e.node);
    refresh_open(state, e.task);
    inspection::read(state, e.task, e.node)
}

pub(super) fn started(
    state: &mut State,
    e: &AssignmentStarted,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    task.started_at.get_or_insert(at);
    let assignment = assignment_mut(task, e.assignment)?;
    ensure(assignment.stage == Stage::Leased, || {
        format!("assignment {} started amiss", e.assignment)
    })?;
    let node = assignment.node;
    assignment.started_at = Some(at);
    assignment.stage = Stage::Running {
        ppm: 0,
        note: String::new(),
        at,
    };
    let compiled = std::mem::take(&mut assignment.compiling);
    let host = node_mut(state, node)?;
    host.taken.remove(compiled);
    let active = host.active.len();
    let assignment = assignment_mut(task_mut(state, e.task)?, e.assignment)?;
    assignment.abreast = u32::try_from(active).unwrap_or(u32::MAX);
    record::sweep(state);
    if compiled != Room::default() {
        refresh_node(state, node);
    }
    Ok(())
}

pub(super) fn progressed(
    state: &mut State,
    e: &AssignmentProgressed,
    now: Timestamp,
) -> Result<(), Corrupt> {
    let assignment = assignment_mut(task_mut(state, e.task)?, e.assignment)?;
    let Stage::Running { ppm, note, at } = &mut assignment.stage else {
        return Err(Corrupt(format!(
            "progress of the idle assignment {}",
            e.assignment
        )));
    };
    *ppm = e.ppm;
    note.clone_from(&e.note);
    *at = now;
    refresh_open(state, e.task);
    Ok(())
}

pub(super) fn output_uploaded(state: &mut State, e: &OutputUploaded) -> Result<(), Corrupt> {
    let assignment = assignment_mut(task_mut(state, e.task)?, e.assignment)?;
    let known = assignment
        .uploads
        .iter()
        .any(|blob| blob.digest == e.blob.digest);
    ensure(assignment.may_upload() && !known, || {
        format!("an upload under assignment {} amiss", e.assignment)
    })?;
    assignment.uploads.push(e.blob);
    Ok(())
}

pub(super) fn committed(
    state: &mut State,
    e: &AssignmentCommitted,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let commitment = Commitment {
        digest: e.commitment,
        at,
        absent_ms: e.absent_ms,
    };
    let node = end_active(state, e.task, e.assignment, at, |stage| {
        matches!(stage, Stage::Running { .. }).then_some(Stage::Committed(commitment))
    })?;
    node_mut(state, node)?.sealed.insert(e.assignment);
    keep(state, e.task, e.assignment)?;
    let inputs = task_ref(state, e.task)?.inputs.clone();
    remember(state, node, &inputs);
    refresh_node(state, node);
    Ok(())
}

pub(super) fn output_closed(state: &mut State, e: &OutputClosed) -> Result<(), Corrupt> {
    let assignment = assignment_mut(task_mut(state, e.task)?, e.assignment)?;
    let mut known = assignment.closed_outputs.iter();
    let is_known = known.any(|output| output.seal == e.output.seal);
    ensure(assignment.may_upload() && !is_known, || {
        format!("an upload under assignment {} amiss", e.assignment)
    })?;
    assignment.closed_outputs.push(e.output);
    Ok(())
}

/// What comes after the first part continues it.
pub(super) fn shown(state: &mut State, e: &AssignmentShown) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    expect(matches!(task.phase, Phase::Verifying { .. }), task)?;
    let assignment = assignment_mut(task, e.assignment)?;
    match &mut assignment.stage {
        Stage::Committed(commitment) => {
            assignment.stage = Stage::Shown(Shown {
                commitment: *commitment,
                closed: e.closed.clone(),
            });
            discard(state, e.assignment)
        }
        Stage::Shown(shown) => {
            shown.closed.append(&e.closed);
            Ok(())
        }
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => Err(Corrupt(format!(
            "assignment {} shows a result without a commitment",
            e.assignment
        ))),
    }
}

pub(super) fn revealed(state: &mut State, e: &AssignmentRevealed) -> Result<(), Corrupt> {
    let id = e.report.assignment;
    let task = task_mut(state, e.report.task)?;
    // What was compared is opened with the verdict that follows.
    let is_due = matches!(task.phase, Phase::Verifying { .. }) || task.is_inspected();
    expect(is_due, task)?;
    let assignment = assignment_mut(task, id)?;
    let keys = Keys::Told(Told {
        keys: e.key.map(|key| (id, key)).into_iter().collect(),
        ..Told::default()
    });
    let commitment = match &assignment.stage {
        Stage::Committed(commitment) => *commitment,
        Stage::Shown(shown) => {
            ensure(keys.open(assignment).as_ref() == Some(e), || {
                format!("assignment {id} is opened as something else than was shown")
            })?;
            shown.commitment
        }
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => {
            return Err(Corrupt(format!(
                "assignment {id} revealed without a commitment"
            )));
        }
    };
    ensure(e.report.commitment() == commitment.digest, || {
        format!("assignment {id} reveals something else")
    })?;
    assignment.stage = Stage::Revealed(Revealed {
        commitment,
        report: Arc::clone(&e.report),
        checks: e.checks.clone(),
        published: e.published.clone(),
    });
    discard(state, id)
}

pub(super) fn lost(state: &mut State, e: &AssignmentLost, at: Timestamp) -> Result<(), Corrupt> {
    let stage = Stage::Lost {
        reason: e.reason,
        at,
    };
    if e.reason == LossReason::NotRevealed {
        return unrevealed(state, e, stage, at);
    }
    let node = end_active(state, e.task, e.assignment, at, |_| Some(stage))?;
    concurrency::halve(state, node)?;
    spend_attempt(state, e.task)?;
    record::note(state, e.task, e.assignment, Outcome::Fault, at)
}

pub(super) fn returned(
    state: &mut State,
    e: &AssignmentReturned,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let stage = Stage::Returned {
        counted: e.counted,
        at,
    };
    let node = end_active(state, e.task, e.assignment, at, |_| Some(stage))?;
    if e.counted {
        spend_attempt(state, e.task)?;
        return record::note(state, e.task, e.assignment, Outcome::Fault, at);
    }
    requeue(task_mut(state, e.task)?);
    let epoch = state.epochs.last;
    node_mut(state, node)?.returns.add(epoch);
    Ok(())
}

/// A result that was sealed for a task without a sample, and not revealed in time: the task goes on without it.
fn unrevealed(
    state: &mut State,
    e: &AssignmentLost,
    stage: Stage,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let Phase::Verifying { reveal_by } = task.phase else {
        return Err(Corrupt(format!("a reveal of task {} missed amiss", e.task)));
    };
    let assignment = assignment_mut(task, e.assignment)?;
    ensure(matches!(assignment.stage, Stage::Committed(_)), || {
        format!("assignment {} has nothing to reveal", e.assignment)
    })?;
    assignment.stage = stage;
    let node = assignment.node;
    let sealed = |a: &Assignment| a.is_replica() && !a.is_active();
    // What was to stand alone does not: the next one is a first one again.
    match task.sample {
        Sample::Alone { .. } => task.sample = Sample::Undecided,
        Sample::Undecided | Sample::Repeated { .. } => {}
    }
    if !task.assignments.values().any(sealed) {
        resume_running(state, e.task, Some(reveal_by))?;
    }
    spend_attempt(state, e.task)?;
    unseal(state, node, e.assignment)?;
    concurrency::halve(state, node)?;
    refresh_open(state, e.task);
    record::note(state, e.task, e.assignment, Outcome::Fault, at)
}

pub(super) fn withdrawn(
    state: &mut State,
    e: &AssignmentWithdrawn,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let is_over = matches!(task.phase, Phase::Verifying { .. });
    let slot = assignment_mut(task, e.assignment)?.slot();
    let mut mates = task.assignments.values().filter(|a| a.slot() == slot);
    // Another result was taken for its replica. What it had begun is paid out of the reserve for attempts, and uses one up.
    let is_overtaken =
        is_over || mates.any(|a| a.id != e.assignment && a.is_replica() && !a.is_active());
    let assignment = assignment_mut(task, e.assignment)?;
    if is_overtaken && assignment.started_at.is_some() {
        assignment.overtaken = true;
        task.attempts_spent = task.attempts_spent.saturating_add(1);
    }
    let assignment = assignment_mut(task, e.assignment)?;
    match &assignment.stage {
        Stage::Leased | Stage::Running { .. } => {
            let is_begun = assignment.started_at.is_some();
            end_active(state, e.task, e.assignment, at, |_| Some(Stage::Withdrawn))?;
            let task = task_ref(state, e.task)?;
            let is_over = task.definition.qos.deadline.is_some_and(|d| d <= at);
            let run = task.assignments.get(&e.assignment);
            // It had all its time, and did not use it.
            if is_begun && is_over && run.is_some_and(|run| task.left_all_time(run)) {
                record::note(state, e.task, e.assignment, Outcome::Late, at)?;
            }
        }
        Stage::Committed(_) | Stage::Shown(_) | Stage::Revealed(_) => {
            assignment.stage = Stage::Withdrawn;
            let node = assignment.node;
            unseal(state, node, e.assignment)?;
            refresh_open(state, e.task);
        }
        Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => {
            return Err(Corrupt(format!(
                "assignment {} withdrawn after its end",
                e.assignment
            )));
        }
    }
    Ok(())
}

/// Moves an active assignment on and frees its node's slot.
pub(super) fn end_active(
    state: &mut State,
    task_id: TaskId,
    id: AssignmentId,
    at: Timestamp,
    next: impl FnOnce(&Stage) -> Option<Stage>,
) -> Result<NodeId, Corrupt> {
    let task = task_ref(state, task_id)?;
    let room = room_of(state, task);
    let run = task.assignments.get(&id);
    let held_ms = run.map_or(0, |run| held_ms(task, run, &state.policy_of(task), at));
    let task = task_mut(state, task_id)?;
    let requester = task.requester;
    let assignment = assignment_mut(task, id)?;
    let stage = if assignment.is_active() {
        next(&assignment.stage)
    } else {
        None
    };
    assignment.stage =
        stage.ok_or_else(|| Corrupt(format!("assignment {id} can't end from here")))?;
    let (node, charged) = (assignment.node, assignment.charged);
    let compiling = std::mem::take(&mut assignment.compiling);
    let (slots_milli, is_nodes_fault) = (assignment.slots_milli, assignment.is_nodes_fault());
    // A sealed result is covered until it matures.
    let freed = match assignment.stage {
        Stage::Committed(_) => Amount::ZERO,
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Shown(_)
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => std::mem::take(&mut assignment.stake),
    };
    stake::unlock(state, node, freed)?;
    let host = node_mut(state, node)?;
    host.active.remove(&id);
    host.taken.remove(room);
    host.taken.remove(compiling);
    // It is charged for the time that it held the node, whatever it had reserved. What the node did not end well is worth the reservation
    // at most: not nothing, for a requester can make nodes fail.
    let held = charge(held_ms, slots_milli, state.limits_of(requester).weight);
    let most = if is_nodes_fault { charged } else { held };
    let used = held.min(most);
    use_up(state, requester, |r| {
        r.reserved = r.reserved.saturating_sub(charged);
        r.used = r.used.saturating_add(used);
        r.running = r.running.saturating_sub(1);
    });
    refresh_node(state, node);
    refresh_open(state, task_id);
    Ok(node)
}

pub(super) fn spend_attempt(state: &mut State, task: TaskId) -> Result<(), Corrupt> {
    let task = task_mut(state, task)?;
    task.attempts_spent = task.attempts_spent.saturating_add(1);
    requeue(task);
    Ok(())
}

/// A task of which nothing runs any more waits again.
fn requeue(task: &mut Task) {
    if task.phase == Phase::Running && task.replicas() == 0 {
        task.phase = Phase::Queued;
    }
}
