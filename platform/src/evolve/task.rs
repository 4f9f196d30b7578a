//! Tasks and their assignments.

use std::collections::BTreeSet;

use aevir_events::{Corrupt, Timestamp};

use super::{
    checkpoint, ensure,
    epoch::use_up,
    failures, inspection,
    market::own_blob,
    node::node_mut,
    record, reservation, review, rewards, stake,
    unseal::{discard_all, unseal_all, unseal_undecided},
};
use crate::{
    amount::Amount,
    decide::rests_on_unvouched,
    event::{
        RoundClosed, TaskClosed, TaskCreated, TaskMatured, TaskQueued, TaskSettled, TaskVerified,
        Verdict,
    },
    ids::{AssignmentId, TaskId},
    report::BlobRef,
    schedule::{first_pace, hastens_at, round_ends_at},
    state::{
        Assignment, Outcome, Phase, Settlement, Stage, State, Task, VerdictRecord, awaited,
        is_unblocked,
    },
};

pub(super) fn created(state: &mut State, e: &TaskCreated, at: Timestamp) -> Result<(), Corrupt> {
    let mut task = state.task_of_its_module(e, at);
    review::reviewing(state, &mut task, e.review)?;
    inspection::inspecting(state, &mut task, e.inspection)?;
    for dependency in awaited(state, &task) {
        state
            .index
            .dependents
            .entry(dependency)
            .or_default()
            .insert(e.task);
    }
    if is_unblocked(state, &task) {
        state.index.unblocked.insert(e.task);
    }
    if let Some(deadline) = task.definition.qos.deadline {
        state.index.deadlines.insert((deadline, e.task));
    }
    state
        .index
        .tasks_by_requester
        .entry(e.requester)
        .or_default()
        .insert(e.task);
    *state.index.unended.entry(e.requester).or_default() += 1;
    let earlier = state.tasks.insert(e.task, task);
    ensure(earlier.is_none(), || {
        format!("task {} created twice", e.task)
    })
}

pub(super) fn queued(state: &mut State, e: &TaskQueued, at: Timestamp) -> Result<(), Corrupt> {
    let policy = state.policy_of(task_ref(state, e.task)?);
    let task = task_mut(state, e.task)?;
    expect(task.phase == Phase::Created, task)?;
    task.phase = Phase::Queued;
    task.queued_at = Some(at);
    task.inputs = e.inputs.clone();
    task.pace = first_pace(task, &policy, at);
    // The definition that a check opens is of the requester's own making.
    let definition = inspection::checked_definition(task);
    let requester = task.requester;
    if let Some(blob) = definition {
        own_blob(state, requester, blob)?;
    }
    state.index.unblocked.remove(&e.task);
    refresh_open(state, e.task);
    Ok(())
}

pub(super) fn round_closed(state: &mut State, e: &RoundClosed) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    let earlier = match task.phase {
        Phase::Running => None,
        // Without a sample another result was sealed before the first one was revealed: it has its time, too.
        Phase::Verifying { reveal_by } if !task.is_sampled() => Some(reveal_by),
        Phase::Verifying { .. }
        | Phase::Inspecting
        | Phase::Created
        | Phase::Queued
        | Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => return Err(misfit(task)),
    };
    expect(task.round == e.round, task)?;
    task.phase = Phase::Verifying {
        reveal_by: e.reveal_by,
    };
    // The verdict is due in moments; a deadline counts again only if the task goes back to running.
    let deadline = task.definition.qos.deadline;
    forget_deadline(state, e.task, deadline);
    if let Some(earlier) = earlier {
        state.index.reveals.remove(&(earlier, e.task));
    }
    state.index.reveals.insert((e.reveal_by, e.task));
    refresh_open(state, e.task);
    Ok(())
}

/// What was to be revealed is not to come: the task is running again, and its deadline counts.
pub(super) fn resume_running(
    state: &mut State,
    id: TaskId,
    reveal_by: Option<Timestamp>,
) -> Result<(), Corrupt> {
    let task = task_mut(state, id)?;
    task.phase = Phase::Running;
    if let Some(deadline) = task.definition.qos.deadline {
        state.index.deadlines.insert((deadline, id));
    }
    if let Some(reveal_by) = reveal_by {
        state.index.reveals.remove(&(reveal_by, id));
    }
    Ok(())
}

pub(super) fn verified(state: &mut State, e: &TaskVerified, at: Timestamp) -> Result<(), Corrupt> {
    let policy = state.policy_of(task_ref(state, e.task)?);
    let task = task_mut(state, e.task)?;
    let reveal_by = under_verification(task)?;
    expect(task.phase != Phase::Inspecting || task.is_inspected(), task)?;
    let blamed = task.blamed(&e.accepted, &e.refused, &policy);
    let late: BTreeSet<AssignmentId> = task
        .assignments
        .values()
        .filter(|a| task.missed_latency(a))
        .map(|a| a.id)
        .collect();
    let mut outcomes = Vec::new();
    let mut overdue = Vec::new();
    for id in &e.accepted {
        let assignment = assignment_mut(task, *id)?;
        let Stage::Revealed(revealed) = &assignment.stage else {
            return Err(Corrupt(format!(
                "assignment {id} accepted without a reveal"
            )));
        };
        if late.contains(id) {
            overdue.push(*id);
        }
        assignment.stage = Stage::Accepted(revealed.clone());
    }
    for refusal in &e.refused {
        let assignment = assignment_mut(task, refusal.assignment)?;
        let (commitment, report) = match &assignment.stage {
            Stage::Revealed(revealed) => (revealed.commitment, Some(revealed.report.clone())),
            Stage::Committed(commitment) => (*commitment, None),
            Stage::Leased
            | Stage::Running { .. }
            | Stage::Shown(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => {
                return Err(Corrupt(format!(
                    "assignment {} refused amiss",
                    refusal.assignment
                )));
            }
        };
        assignment.stage = Stage::Refused {
            reason: refusal.reason,
            commitment,
            report,
        };
    }
    outcomes.extend(blamed.iter().map(|id| (*id, Outcome::Fault)));
    if !e.accepted.is_empty() && task.may_blame(&policy) {
        outcomes.extend(failures::contradicted(task).map(|id| (id, Outcome::Fault)));
        let blamed = checkpoint::blamed(task, &e.accepted);
        outcomes.extend(blamed.into_iter().map(|id| (id, Outcome::Fault)));
    }
    task.phase = match e.verdict {
        Verdict::Passed => Phase::Settled { matured_at: None },
        Verdict::Unmet => Phase::Unmet { matured_at: None },
        Verdict::Inconclusive => Phase::Inconclusive,
    };
    task.ended_at = Some(at);
    task.verdict = Some(VerdictRecord {
        verdict: e.verdict,
        accepted: e.accepted.clone(),
        refused: e.refused.clone(),
        checks: e.checks.clone(),
        outputs: e.outputs.clone(),
        result: e.result,
        published: e.published.clone(),
        late: e.late,
    });
    let requester = task.requester;
    // What its node could not have done in time says nothing of it: else anybody could harm any node by asking for it.
    let task = task_ref(state, e.task)?;
    if task.could_be_in_time(&e.outputs) {
        outcomes.extend(overdue.into_iter().map(|id| (id, Outcome::Late)));
    }
    if let Some(reveal_by) = reveal_by {
        state.index.reveals.remove(&(reveal_by, e.task));
    }
    state.index.inspected.remove(&e.task);
    refresh_open(state, e.task);
    discard_all(state, e.task)?;
    ended(state, e.task);
    if e.verdict == Verdict::Inconclusive {
        // Nothing of it is pending.
        unseal_undecided(state, e, &blamed, at)?;
    }
    stake::struck(state, e, &blamed, at)?;
    for (assignment, outcome) in outcomes {
        record::note(state, e.task, assignment, outcome, at)?;
    }
    failures::count(state, e.task, at)?;
    let results = e
        .outputs
        .iter()
        .map(|o| BlobRef {
            digest: o.digest,
            size: o.size,
        })
        .chain(e.result);
    results
        .into_iter()
        .try_for_each(|blob| own_blob(state, requester, blob))
}

pub(super) fn settled(
    state: &mut State,
    e: &TaskSettled,
    at: Timestamp,
    position: u64,
) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    expect(task.verdict.is_some() && task.settlement.is_none(), task)?;
    ensure(e.fee.plus(e.refund) == Some(task.held()), || {
        format!("task {}: fee and refund are not the escrow", e.task)
    })?;
    ensure(e.held >= Amount::ZERO && e.held <= e.refund, || {
        format!("task {}: more is held than comes back", e.task)
    })?;
    task.settlement = Some(Settlement {
        position,
        fee: e.fee,
        refund: e.refund,
        held: e.held,
        shares: e.shares.clone(),
        matures_at: e.matures_at,
    });
    let due = task.maturing();
    if let Some(due) = due {
        state.index.maturing.insert((due, e.task));
    }
    record::paid(state, e, at)?;
    for share in &e.shares {
        if let Some(node) = share.node {
            let node = node_mut(state, node)?;
            let earned = node.earned.plus(share.amount);
            node.earned = earned.ok_or_else(|| Corrupt("earnings pass 64 bits".into()))?;
        }
    }
    // Without a window it matures in the same batch.
    if due.is_some_and(|due| due > at) {
        review::settled(state, e.task)?;
    }
    Ok(())
}

pub(super) fn matured(state: &mut State, e: &TaskMatured, at: Timestamp) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    ensure(rests_on_unvouched(state, task).is_none(), || {
        format!("task {} matured though nothing vouches for it", e.task)
    })?;
    let task = task_mut(state, e.task)?;
    let due = task.maturing();
    ensure(due.is_none_or(|due| due <= at), || {
        format!("task {} matured within its dispute window", e.task)
    })?;
    match &mut task.phase {
        Phase::Settled {
            matured_at: matured @ None,
        }
        | Phase::Unmet {
            matured_at: matured @ None,
        } => {
            *matured = Some(at);
            if let Some(due) = due {
                state.index.maturing.remove(&(due, e.task));
            }
            rewards::collect(state, e.task)?;
            unseal_all(state, e.task)
        }
        Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Created
        | Phase::Queued
        | Phase::Running
        | Phase::Verifying { .. }
        | Phase::Inspecting
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => Err(misfit(task)),
    }
}

pub(super) fn closed(
    state: &mut State,
    e: &TaskClosed,
    at: Timestamp,
    position: u64,
) -> Result<(), Corrupt> {
    let task = task_mut(state, e.task)?;
    // A round that has closed ends with a verdict, never like this.
    let open = matches!(task.phase, Phase::Created | Phase::Queued | Phase::Running);
    expect(open && task.active().next().is_none(), task)?;
    ensure(e.fee.plus(e.refund) == Some(task.held()), || {
        format!("task {}: fee and refund are not the escrow", e.task)
    })?;
    task.phase = Phase::closed(e.reason, &e.detail);
    task.ended_at = Some(at);
    task.settlement = Some(Settlement {
        position,
        fee: e.fee,
        refund: e.refund,
        held: Amount::ZERO,
        shares: Vec::new(),
        matures_at: None,
    });
    let deadline = task.definition.qos.deadline;
    forget_deadline(state, e.task, deadline);
    state.index.unblocked.remove(&e.task);
    discard_all(state, e.task)?;
    ended(state, e.task);
    refresh_open(state, e.task);
    failures::count(state, e.task, at)
}

/// Keeps the indexes right after a task ended.
fn ended(state: &mut State, id: TaskId) {
    reservation::give_up(state, id);
    if let Some(task) = state.tasks.get(&id) {
        let requester = task.requester;
        if let Some(unended) = state.index.unended.get_mut(&requester) {
            *unended = unended.saturating_sub(1);
        }
    }
    unblock_dependents(state, id);
}

/// After a task ended: those that wait for it can be queued when all their dependencies have settled, or must
/// be closed when one can't.
fn unblock_dependents(state: &mut State, ended: TaskId) {
    let Some(dependents) = state.index.dependents.remove(&ended) else {
        return;
    };
    for id in dependents {
        if state
            .tasks
            .get(&id)
            .is_some_and(|task| is_unblocked(state, task))
        {
            state.index.unblocked.insert(id);
        }
    }
}

fn forget_deadline(state: &mut State, task: TaskId, deadline: Option<Timestamp>) {
    if let Some(deadline) = deadline {
        state.index.deadlines.remove(&(deadline, task));
    }
}

/// Keeps the indexes of tasks with open slots and of runs in danger right after a task changed.
pub(super) fn refresh_open(state: &mut State, id: TaskId) {
    // Taken out, so that the indexes can be changed while the state is read.
    let mut queues = std::mem::take(&mut state.index.queues);
    let mut tails = std::mem::take(&mut state.index.tails);
    let mut hastens = std::mem::take(&mut state.index.hastens);
    let mut rounds = std::mem::take(&mut state.index.rounds);
    let mut comes_back = None;
    if let Some(task) = state.tasks.get(&id) {
        let waited = queues.has(task.requester);
        queues.refresh(state, task);
        tails.refresh(state, task);
        hastens.set(id, hastens_at(state, task));
        rounds.set(id, round_ends_at(state, task));
        comes_back = (!waited && queues.has(task.requester)).then_some(task.requester);
    }
    state.index.queues = queues;
    state.index.tails = tails;
    state.index.hastens = hastens;
    state.index.rounds = rounds;
    if let Some(requester) = comes_back {
        // Who comes back does not get what it left unused while it was away.
        let now = state.virtual_time;
        use_up(state, requester, |r| r.used = r.used.max(now));
    }
}

/// Until when results of a task that may have its verdict can be revealed; `None` where verifiers are at work on what was.
pub(super) fn under_verification(task: &Task) -> Result<Option<Timestamp>, Corrupt> {
    match task.phase {
        Phase::Verifying { reveal_by } => Ok(Some(reveal_by)),
        Phase::Inspecting => Ok(None),
        Phase::Created
        | Phase::Queued
        | Phase::Running
        | Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => Err(misfit(task)),
    }
}

pub(super) fn task_ref(state: &State, id: TaskId) -> Result<&Task, Corrupt> {
    state
        .tasks
        .get(&id)
        .ok_or_else(|| Corrupt(format!("no task {id}")))
}

pub(super) fn task_mut(state: &mut State, id: TaskId) -> Result<&mut Task, Corrupt> {
    state
        .tasks
        .get_mut(&id)
        .ok_or_else(|| Corrupt(format!("no task {id}")))
}

pub(super) fn assignment_mut(
    task: &mut Task,
    id: AssignmentId,
) -> Result<&mut Assignment, Corrupt> {
    let of = task.id;
    task.assignments
        .get_mut(&id)
        .ok_or_else(|| Corrupt(format!("task {of} has no assignment {id}")))
}

pub(super) fn misfit(task: &Task) -> Corrupt {
    Corrupt(format!(
        "the event does not fit task {} in state `{}`",
        task.id,
        task.phase.name()
    ))
}

pub(super) fn expect(holds: bool, task: &Task) -> Result<(), Corrupt> {
    if holds { Ok(()) } else { Err(misfit(task)) }
}
