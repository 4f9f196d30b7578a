//! Commit and reveal: nodes seal their results before anybody sees another's.

use std::{collections::BTreeMap, sync::Arc};

use aevir_events::Context;
use serde_json::Value;

use super::{
    Decision,
    lease::leased_to,
    trust::{self, Fall},
    validate::{FILES_MAX, RESULT_BYTES_MAX, is_file_name},
    verdict,
};
use crate::{
    amount::Count,
    check,
    definition::{Publish, TaskDefinition},
    digest::Digest,
    event::{
        AssignmentCommitted, AssignmentRevealed, AssignmentWithdrawn, Event, OutputUploaded,
        RoundClosed, TrustDecided,
    },
    hexbytes::Hex,
    ids::{AssignmentId, NodeId},
    rejection::Rejection,
    report::{Artifact, BlobRef, NodeKey, Report, SignedCommitment},
    schedule::{Toss, urn_of},
    state::{Assignment, Phase, Stage, State, Task},
};

/// Bytes of an inline result that the log shows; of a larger selection it shows none. With everything else in a
/// report or verdict, at its largest, it fits an entry.
pub(crate) const PUBLISHED_BYTES_MAX: usize = 20 * 1024;
/// Metrics of one run.
const METRICS_MAX: usize = 64;

pub(super) fn record_output(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    blob: BlobRef,
) -> Decision {
    let (task, assignment) = leased_to(state, node, id)?;
    if assignment.stage == Stage::Leased {
        return Err(Rejection::NotStarted);
    }
    if !assignment.may_upload() {
        return Err(Rejection::LeaseEnded);
    }
    if assignment.uploads.contains(&blob) {
        return Ok(Vec::new());
    }
    let known = state.blobs.get(&blob.digest).map(|b| b.size);
    let uploaded = assignment
        .uploads
        .iter()
        .find(|b| b.digest == blob.digest)
        .map(|b| b.size);
    if known.or(uploaded).is_some_and(|size| size != blob.size) {
        let digest = blob.digest;
        return Err(Rejection::BlobSizeMismatch { digest });
    }
    if assignment.uploads.len() >= FILES_MAX {
        return Err(Rejection::TooManyOutputs { most: FILES_MAX });
    }
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

/// What a node seals its result with, whether or not its signature was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) commitment: Digest,
    pub(crate) signature: Hex<64>,
    pub(crate) key: NodeKey,
}

pub(super) fn commit(
    state: &State,
    node: NodeId,
    id: AssignmentId,
    signed: &SignedCommitment,
    context: &Context,
) -> Decision {
    let seal = Seal {
        commitment: signed.commitment(),
        signature: signed.signature(),
        key: signed.key(),
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
        Stage::Committed(_) | Stage::Revealed(_) => return Err(Rejection::RoundClosed),
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
    let committed = AssignmentCommitted {
        task: task.id,
        assignment: id,
        node,
        commitment: seal.commitment,
        signature: seal.signature,
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

pub(super) fn reveal(
    state: &State,
    node: NodeId,
    report: &Report,
    result: &Value,
    context: &Context,
) -> Decision {
    let Some((task, assignment)) = revealable(state, node, report)? else {
        return Ok(Vec::new());
    };
    check_result(report, result)?;
    let revealed = AssignmentRevealed {
        report: Arc::new(report.clone()),
        checks: check::run(&task.definition, result, &report.metrics),
        published: publish(&task.definition, result),
    };
    Ok(opened(state, task, assignment, revealed, context))
}

/// Whether a report may be revealed now, as far as can be told without the inline result; `None` where it was
/// revealed before.
pub(crate) fn revealable<'a>(
    state: &'a State,
    node: NodeId,
    report: &Report,
) -> Result<Option<(&'a Task, &'a Assignment)>, Rejection> {
    let (task, assignment) = leased_to(state, node, report.assignment)?;
    let commitment = match &assignment.stage {
        // An earlier round's time to reveal is over.
        Stage::Committed(_) if assignment.round < task.round => return Err(Rejection::LeaseEnded),
        Stage::Committed(commitment) => commitment,
        Stage::Revealed(revealed) if *revealed.report == *report => return Ok(None),
        Stage::Leased | Stage::Running { .. } => return Err(Rejection::RevealTooEarly),
        Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => return Err(Rejection::LeaseEnded),
    };
    if task.phase == Phase::Inspecting {
        // Its time to reveal is over.
        return Err(Rejection::LeaseEnded);
    }
    if !matches!(task.phase, Phase::Verifying { .. }) {
        return Err(Rejection::RevealTooEarly);
    }
    let names_this_run =
        report.task == task.id && report.node == node && report.assignment == assignment.id;
    if !names_this_run || report.commitment() != commitment.digest {
        return Err(Rejection::RevealMismatch);
    }
    check_report(task, assignment.resume.map(|b| b.digest), report)?;
    check_sizes(state, report)?;
    check_uploads(assignment, report)?;
    Ok(Some((task, assignment)))
}

/// What a reveal brings: itself, and the verdict where it is the round's last.
pub(crate) fn opened(
    state: &State,
    task: &Task,
    assignment: &Assignment,
    revealed: AssignmentRevealed,
    context: &Context,
) -> Vec<Event> {
    let mut events: Vec<Event> = vec![revealed.clone().into()];
    let others = || task.assignments.values().filter(|a| a.id != assignment.id);
    let is_last = if task.is_sampled() {
        let waits =
            |a: &Assignment| a.round == task.round && matches!(a.stage, Stage::Committed(_));
        !others().any(waits)
    } else {
        // A result that meets the requester's terms ends it; one that does not waits for what others may bring in the time to reveal.
        let waits = |a: &Assignment| a.is_active() || matches!(a.stage, Stage::Committed(_));
        verdict::holds(task, &revealed.report, &revealed.checks) || !others().any(waits)
    };
    if is_last {
        events.extend(verdict::judge(state, task, Some(&revealed), context));
    }
    events
}

fn check_report(
    task: &Task,
    resumed_from: Option<Digest>,
    report: &Report,
) -> Result<(), Rejection> {
    let invalid = |detail: &str| {
        Err(Rejection::ReportInvalid {
            detail: detail.into(),
        })
    };
    if report.outputs.len() > FILES_MAX || !report.outputs.iter().all(|o| is_file_name(&o.name)) {
        return invalid("at most 64 outputs, named [A-Za-z0-9._-]{1,64}");
    }
    if !report.outputs.is_sorted_by(|a, b| a.name < b.name)
        || !report.metrics.is_sorted_by(|a, b| a.name < b.name)
    {
        return invalid("outputs and metrics are in the order of their names, each name once");
    }
    if report.metrics.len() > METRICS_MAX
        || report
            .metrics
            .iter()
            .any(|m| !(1..=64).contains(&m.name.len()))
    {
        return invalid("at most 64 metrics, named [A-Za-z0-9._-]{1,64}");
    }
    if report.class.is_empty() || report.class.len() > 256 {
        return invalid("the hardware class has 1 to 256 bytes");
    }
    if report.trace_root.is_some() != task.definition.qos.gpu.is_some() {
        return invalid("a trace root is there exactly when the task uses the GPU");
    }
    if report.resumed_from != resumed_from {
        return invalid("it names another checkpoint than the lease did");
    }
    Ok(())
}

pub(crate) fn check_result(report: &Report, result: &Value) -> Result<(), Rejection> {
    crate::json::readable(result).map_err(|detail| Rejection::ReportInvalid {
        detail: format!("the result: {detail}"),
    })?;
    let bytes = serde_json_canonicalizer::to_vec(result).map_err(|e| Rejection::ReportInvalid {
        detail: format!("the result has no canonical form: {e}"),
    })?;
    if bytes.len() > RESULT_BYTES_MAX {
        let detail = format!(
            "the inline result has {} bytes; at most {RESULT_BYTES_MAX}",
            bytes.len()
        );
        return Err(Rejection::ReportInvalid { detail });
    }
    if Digest::of(&bytes) != report.result.digest || bytes.len() as u64 != report.result.size.0 {
        return Err(Rejection::RevealMismatch);
    }
    Ok(())
}

/// The part of a result that the task's privacy terms put into the log, unless it is too large for it.
pub(crate) fn publish(definition: &TaskDefinition, result: &Value) -> Option<Value> {
    let published = match &definition.privacy.publish {
        Publish::Digest => return None,
        Publish::Full => result.clone(),
        Publish::Pointers(pointers) => {
            let chosen = pointers
                .iter()
                .filter_map(|p| Some((p.clone(), result.pointer(p)?.clone())));
            Value::Object(chosen.collect())
        }
    };
    let bytes = serde_json_canonicalizer::to_vec(&published).ok()?;
    (bytes.len() <= PUBLISHED_BYTES_MAX).then_some(published)
}

/// A result's outputs become the requester's: they must be bytes that the node brought, not names that it knows.
fn check_uploads(assignment: &Assignment, report: &Report) -> Result<(), Rejection> {
    let brought = |o: &&Artifact| {
        assignment.uploads.contains(&BlobRef {
            digest: o.digest,
            size: o.size,
        })
    };
    match report.outputs.iter().find(|o| !brought(o)) {
        None => Ok(()),
        Some(output) => Err(Rejection::OutputNotUploaded {
            name: output.name.clone(),
        }),
    }
}

/// A blob has one size: a report that states another one for a known digest, or two for one, is false.
fn check_sizes(state: &State, report: &Report) -> Result<(), Rejection> {
    let outputs = report.outputs.iter().map(|o| (o.digest, o.size));
    let mut sizes: BTreeMap<Digest, Count> = BTreeMap::new();
    for (digest, size) in outputs.chain([(report.result.digest, report.result.size)]) {
        let known = state.blobs.get(&digest).map(|blob| blob.size);
        if known.is_some_and(|known| known != size) || *sizes.entry(digest).or_insert(size) != size
        {
            return Err(Rejection::BlobSizeMismatch { digest });
        }
    }
    Ok(())
}
