//! Reveals: a sealed result is opened, at once or with the verdict.

use std::{collections::BTreeMap, sync::Arc};

use aevir_events::Context;
use serde_json::Value;

use super::{
    Decision,
    lease::leased_to,
    validate::{FILES_MAX, RESULT_BYTES_MAX, is_file_name},
    verdict::{self, Judged},
};
use crate::{
    amount::Count,
    check,
    closed::{self, ClosedOutput, Content, Keys, RevealKey},
    definition::{Publish, TaskDefinition},
    digest::Digest,
    event::{AssignmentRevealed, AssignmentShown, Event},
    ids::NodeId,
    rejection::Rejection,
    report::{Artifact, BlobRef, Report, class_of_run},
    state::{Assignment, Phase, Stage, State, Task},
};

/// Bytes of an inline result that the log shows; of a larger selection it shows none. With everything else in a
/// report or verdict, at its largest, it fits an entry.
pub(crate) const PUBLISHED_BYTES_MAX: usize = 20 * 1024;
/// Metrics of one run.
const METRICS_MAX: usize = 64;

pub(super) fn reveal(
    state: &State,
    node: NodeId,
    report: &Report,
    result: &Value,
    context: &Context,
) -> Decision {
    let keys = Keys::Leader(&context.secret);
    let Some((task, assignment)) = revealable(state, node, report, &keys)? else {
        return Ok(Vec::new());
    };
    let result = &read_back(report, result)?;
    let revealed = AssignmentRevealed {
        report: Arc::new(report.clone()),
        checks: check::run(&task.definition, result, &report.metrics),
        published: publish(&task.definition, result),
        key: key_told(state, task, assignment, &keys),
    };
    Ok(opened(state, task, assignment, revealed, context, &keys))
}

/// What is disclosed with a result whose task has them closed.
pub(crate) fn key_told(
    state: &State,
    task: &Task,
    assignment: &Assignment,
    keys: &Keys<'_>,
) -> Option<RevealKey> {
    keys.of(assignment.id).filter(|_| state.is_closed(task))
}

/// Whether a report may be revealed now, as far as can be told without the inline result; `None` where it was
/// revealed before.
pub(crate) fn revealable<'a>(
    state: &'a State,
    node: NodeId,
    report: &Report,
    keys: &Keys<'_>,
) -> Result<Option<(&'a Task, &'a Assignment)>, Rejection> {
    let (task, assignment) = leased_to(state, node, report.assignment)?;
    let commitment = match &assignment.stage {
        // An earlier round's time to reveal is over.
        Stage::Committed(_) if assignment.round < task.round => return Err(Rejection::LeaseEnded),
        Stage::Committed(commitment) => commitment,
        // What was shown fits the commitment, and nothing else does.
        Stage::Shown(shown) if shown.commitment.digest == report.commitment() => return Ok(None),
        Stage::Revealed(revealed) if *revealed.report == *report => return Ok(None),
        Stage::Leased | Stage::Running { .. } => return Err(Rejection::RevealTooEarly),
        Stage::Shown(_)
        | Stage::Revealed(_)
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
    check_report(task, assignment, report)?;
    check_sizes(state, report)?;
    check_uploads(assignment, report, key_told(state, task, assignment, keys))?;
    Ok(Some((task, assignment)))
}

/// What a reveal brings: itself, and the verdict where it is the round's last. Where results are closed, it is opened with the verdict
/// and no sooner.
pub(crate) fn opened(
    state: &State,
    task: &Task,
    assignment: &Assignment,
    revealed: AssignmentRevealed,
    context: &Context,
    keys: &Keys<'_>,
) -> Vec<Event> {
    let judged = is_last(task, assignment, &revealed)
        .then(|| verdict::judge(state, task, Some(&revealed), context, keys));
    let is_over = judged.as_ref().is_some_and(|judged| judged.is_over);
    let mut events: Vec<Event> = match revealed.key.filter(|_| !is_over) {
        Some(key) => shown(task, revealed, &key),
        None => vec![revealed.into()],
    };
    events.extend(judged.into_iter().flat_map(Judged::events));
    events
}

/// Nothing of the round is to be waited for.
fn is_last(task: &Task, assignment: &Assignment, revealed: &AssignmentRevealed) -> bool {
    if task.is_sampled() {
        return !awaits_reveals(task, assignment);
    }
    // A result that meets the requester's terms ends it; one that does not waits for what others may bring in the time to reveal.
    let mut others = task.assignments.values().filter(|a| a.id != assignment.id);
    let waits = |a: &Assignment| a.is_active() || matches!(a.stage, Stage::Committed(_));
    verdict::holds(task, &revealed.report, &revealed.checks) || !others.any(waits)
}

/// Whether another replica of the round has still to reveal its result.
pub(crate) fn awaits_reveals(task: &Task, assignment: &Assignment) -> bool {
    let mut others = task.assignments.values().filter(|a| a.id != assignment.id);
    others.any(|a| a.round == task.round && matches!(a.stage, Stage::Committed(_)))
}

fn shown(task: &Task, revealed: AssignmentRevealed, key: &RevealKey) -> Vec<Event> {
    let (task, assignment) = (task.id, revealed.report.assignment);
    let content = Content {
        report: revealed.report,
        checks: revealed.checks,
        published: revealed.published,
    };
    let part = |closed| {
        AssignmentShown {
            task,
            assignment,
            closed,
        }
        .into()
    };
    let parts = closed::close(key, &content).into_iter();
    parts.map(part).collect()
}

fn check_report(task: &Task, assignment: &Assignment, report: &Report) -> Result<(), Rejection> {
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
    // A requester chose the hardware, a sample is compared within its class, and its record is what the outcome goes into.
    let class = class_of_run(&assignment.hardware, task.definition.runtime);
    if report.class != class {
        return Err(Rejection::ReportInvalid {
            detail: format!(
                "the run was leased for the hardware class `{class}`, and `{:.64}` made it: give such a lease back, and register what the machine has",
                report.class
            ),
        });
    }
    if task.compares().is_some() && !(report.outputs.is_empty() && report.metrics.is_empty()) {
        return invalid("a comparison brings its word and nothing else: no outputs and no metrics");
    }
    if report.trace_root.is_some() != task.definition.qos.gpu.is_some() {
        return invalid("a trace root is there exactly when the task uses the GPU");
    }
    if report.resumed_from != assignment.resume.map(|blob| blob.digest) {
        return invalid("it names another checkpoint than the lease did");
    }
    Ok(())
}

pub(crate) fn check_result(report: &Report, result: &Value) -> Result<(), Rejection> {
    read_back(report, result).map(drop)
}

/// The inline result as everybody reads it who has its bytes: a node may write 7 as `7.0`, and what is decided on it must not go by that.
fn read_back(report: &Report, result: &Value) -> Result<Value, Rejection> {
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
    serde_json::from_slice(&bytes).map_err(|e| Rejection::ReportInvalid {
        detail: format!("the result can't be read back: {e}"),
    })
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
fn check_uploads(
    assignment: &Assignment,
    report: &Report,
    key: Option<RevealKey>,
) -> Result<(), Rejection> {
    let brought = |o: &&Artifact| {
        let blob = BlobRef {
            digest: o.digest,
            size: o.size,
        };
        match &key {
            Some(key) => {
                let closed = ClosedOutput::of(key, blob);
                assignment.closed_outputs.contains(&closed)
            }
            None => assignment.uploads.contains(&blob),
        }
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
