//! Outputs and commitments: nodes seal their results before anybody sees another's.

use aevir_events::{Context, LeaderSecret};

use super::{
    Decision,
    lease::leased_to,
    trust::{self, Fall},
    validate::FILES_MAX,
};
use crate::{
    amount::Count,
    closed::{self, ClosedOutput},
    digest::Digest,
    event::{
        AssignmentCommitted, AssignmentWithdrawn, Event, OutputClosed, OutputUploaded, RoundClosed,
        TrustDecided,
    },
    hexbytes::Hex,
    ids::{AssignmentId, NodeId},
    rejection::Rejection,
    report::{BlobRef, NodeKey, SignedCommitment},
    schedule::{Toss, urn_of},
    state::{Assignment, Stage, State, Task},
};

pub(super) fn record_output(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    blob: BlobRef,
    leader: &LeaderSecret,
) -> Decision {
    let (task, assignment) = uploading(state, node, id)?;
    if state.is_closed(task) {
        return output_closed(state, task, assignment, blob, leader);
    }
    if assignment.uploads.contains(&blob) {
        return Ok(Vec::new());
    }
    let earlier = assignment.uploads.iter();
    let mut earlier = earlier.filter(|b| b.digest == blob.digest);
    let has_another_size = earlier.any(|b| b.size != blob.size);
    check_new(state, assignment.uploads.len(), blob, has_another_size)?;
    let (task, assignment) = (task.id, assignment.id);
    Ok(vec![
        OutputUploaded {
            task,
            assignment,
            blob,
        }
        .into(),
    ])
}

/// The node's own assignment, while outputs may be brought under it.
pub(crate) fn uploading(
    state: &State,
    node: NodeId,
    id: AssignmentId,
) -> Result<(&Task, &Assignment), Rejection> {
    let (task, assignment) = leased_to(state, node, id)?;
    if assignment.stage == Stage::Leased {
        return Err(Rejection::NotStarted);
    }
    if !assignment.may_upload() {
        return Err(Rejection::LeaseEnded);
    }
    Ok((task, assignment))
}

/// Nobody else is to learn what it is.
fn output_closed(
    state: &State,
    task: &Task,
    assignment: &Assignment,
    blob: BlobRef,
    leader: &LeaderSecret,
) -> Decision {
    let output = ClosedOutput::of(&closed::key_of(leader, assignment.id), blob);
    let earlier = &assignment.closed_outputs;
    if earlier.contains(&output) {
        return Ok(Vec::new());
    }
    let has_another_size = earlier.iter().any(|o| o.seal == output.seal);
    check_new(state, earlier.len(), blob, has_another_size)?;
    let (task, assignment) = (task.id, assignment.id);
    Ok(vec![
        OutputClosed {
            task,
            assignment,
            output,
        }
        .into(),
    ])
}

/// A blob has one size, and an assignment so many of them.
fn check_new(
    state: &State,
    earlier: usize,
    blob: BlobRef,
    has_another_size: bool,
) -> Result<(), Rejection> {
    let known = state.blobs.get(&blob.digest).map(|b| b.size);
    if has_another_size || known.is_some_and(|size| size != blob.size) {
        let digest = blob.digest;
        return Err(Rejection::BlobSizeMismatch { digest });
    }
    if earlier >= FILES_MAX {
        return Err(Rejection::TooManyOutputs { most: FILES_MAX });
    }
    Ok(())
}

/// What a node seals its result with, whether or not its signature was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) commitment: Digest,
    pub(crate) signature: Hex<64>,
    pub(crate) key: NodeKey,
    /// As the leader tells.
    pub(crate) absent_ms: Count,
}

pub(super) fn commit(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    (signed, absent_ms): (&SignedCommitment, Count),
    context: &Context,
) -> Decision {
    let seal = Seal {
        commitment: signed.commitment(),
        signature: signed.signature(),
        key: signed.key(),
        absent_ms,
    };
    let toss = |toss: &Toss| {
        let (epoch, urn) = urn_of(state, context)?;
        Some((epoch, toss.repeats(&urn)))
    };
    sealed(state, node, id, seal, context, toss)
}

/// The decision on a commitment. Audits call it too: they verify signatures apart, on all cores, and `toss` answers them what the log
/// says, until the epoch's secret stands there.
pub(crate) fn sealed(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    seal: Seal,
    context: &Context,
    toss: impl FnOnce(&Toss) -> Fall,
) -> Decision {
    let (task, assignment) = leased_to(state, node, id)?;
    match &assignment.stage {
        Stage::Running { .. } => {}
        Stage::Leased => return Err(Rejection::NotStarted),
        // The same again after a lost answer; another one comes too late.
        Stage::Committed(c) if c.digest == seal.commitment => return Ok(Vec::new()),
        Stage::Committed(_) | Stage::Shown(_) | Stage::Revealed(_) => {
            return Err(Rejection::RoundClosed);
        }
        Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => {
            return Err(Rejection::LeaseEnded);
        }
    }
    if state
        .nodes
        .get(&node)
        .is_none_or(|n| n.public_key != seal.key)
    {
        return Err(Rejection::WrongNodeKey);
    }
    let since_lease = context.time.0.saturating_sub(assignment.leased_at.0);
    let since_lease = Count(u64::try_from(since_lease).unwrap_or(0));
    let committed = AssignmentCommitted {
        task: task.id,
        assignment: id,
        node,
        commitment: seal.commitment,
        signature: seal.signature,
        absent_ms: seal.absent_ms.min(since_lease),
    };
    let mut events: Vec<Event> = vec![committed.into()];
    let sealed = task
        .assignments
        .values()
        .filter(|a| a.is_replica() && !a.is_active());
    // What is sealed without a sample, and each further one, has its time to be revealed from here.
    let is_complete = sealed.count() + 1 >= task.replicas_wanted as usize;
    let decided = trust::decide(state, task, assignment, context.time, toss);
    let is_repeated = decided.as_ref().is_some_and(TrustDecided::is_repeated);
    events.extend(decided.map(Event::from));
    if is_complete && !is_repeated {
        events.push(round_closed(state, task, context).into());
    }
    // Of a sample each replica has one result, and the first one is it: a second would be a second vote. Without a sample the
    // others go on: nobody knows whether what is sealed will be shown.
    if task.is_sampled() {
        let mates = task
            .active()
            .filter(|a| a.id != id && a.slot() == assignment.slot());
        events.extend(mates.map(|mate| called_off(task, mate)));
    }
    Ok(events)
}

/// What is sealed of a task is to be revealed.
pub(super) fn round_closed(state: &State, task: &Task, context: &Context) -> RoundClosed {
    RoundClosed {
        task: task.id,
        round: task.round,
        reveal_by: context.time.plus_ms(state.policy_of(task).reveal_ms.into()),
    }
}

/// A run or a result that another one made needless.
pub(super) fn called_off(task: &Task, assignment: &Assignment) -> Event {
    AssignmentWithdrawn {
        task: task.id,
        assignment: assignment.id,
    }
    .into()
}
