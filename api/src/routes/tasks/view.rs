//! A task as its requester sees it.

use std::collections::BTreeMap;

use aevir_events::Timestamp;
use aevir_platform::{
    event::CheckResult,
    ids::{AssignmentId, TaskId},
    report::Report,
    schedule,
    state::{Assignment, Inspection, Phase, Review, Settlement, Stage, State, Task, VerdictRecord},
    taken_by_others,
};
use aevir_wire as wire;

use super::plan::prices;
use crate::{
    app::App,
    convert::{artifacts, blob, name_of, time, to_wire},
    error::{ApiError, ApiResult},
};

/// Nodes that are looked at to tell why a task waits.
const NODES_ASKED_MAX: usize = 2_000;

pub(super) fn task(app: &App, state: &State, task: &Task, now: Timestamp) -> ApiResult<wire::Task> {
    let definition = serde_json::to_value(task.definition.as_ref())
        .map_err(|e| ApiError::internal("a definition has no JSON form", &e))?;
    let assignments = task.assignments.values();
    let assignments = assignments.map(|a| assignment(app, state, task, a));
    Ok(wire::Task {
        id: task.id.to_string(),
        requester: task.requester.to_string(),
        kind: name_of(&task.definition.kind),
        state: task.phase.name().into(),
        ended: task.phase.is_final(),
        detail: detail(&task.phase),
        definition,
        definition_digest: task.definition_digest.to_string(),
        seed: task.seed.to_string(),
        policy_version: task.policy_version,
        escrow: task.escrow.to_string(),
        prices: prices(&task.prices),
        created_at: time(task.created_at),
        queued_at: task.queued_at.map(time),
        started_at: task.started_at.map(time),
        ended_at: task.ended_at.map(time),
        duration_ms: duration_ms(task),
        round: task.round,
        replicas_wanted: task.replicas_wanted,
        sample: task.sample_name().into(),
        attempts_spent: task.attempts_spent,
        inputs: artifacts(&task.inputs),
        progress: progress(app, task),
        waiting: waiting(state, task, now),
        assignments: assignments.collect::<ApiResult<_>>()?,
        verdict: verdict(task)?,
        inspections: task.inspections.iter().map(inspection).collect(),
        inspects: task.inspects.as_ref().map(|of| of.task.to_string()),
        review: review(task),
        reviews: task.review_of.as_ref().map(|of| of.task.to_string()),
        tainted_by: state.tainted_by(task).map(|id| id.to_string()).collect(),
        settlement: task.settlement.as_ref().map(|s| settlement(task, s)),
        receipt: task.settlement.as_ref().map(|_| receipt_path(task.id)),
        model: task.model.map(|m| m.to_string()),
        model_of_others: taken_by_others(state, task)
            .map(|(file, content)| (file.to_owned(), content.to_string()))
            .collect(),
    })
}

fn detail(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Failed { detail } | Phase::Cancelled { detail } => Some(detail.clone()),
        Phase::Created
        | Phase::Queued
        | Phase::Running
        | Phase::Verifying { .. }
        | Phase::Inspecting
        | Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Expired => None,
    }
}

fn duration_ms(task: &Task) -> Option<String> {
    let (queued, ended) = (task.queued_at?, task.ended_at?);
    Some(ended.0.saturating_sub(queued.0).to_string())
}

/// The replica that is furthest; heartbeats know more than the log.
fn progress(app: &App, task: &Task) -> Option<wire::Progress> {
    let running = task.assignments.values();
    let running = running.filter(|a| matches!(a.stage, Stage::Running { .. }));
    let furthest = running
        .filter_map(|a| app.live.progress(a.id))
        .max_by_key(|(ppm, _)| *ppm);
    let recorded = || task.progress().map(|(ppm, note)| (ppm, note.to_owned()));
    let (ppm, note) = furthest.or_else(recorded)?;
    Some(wire::Progress { ppm, note })
}

/// While a replica waits for a node: how many nodes can't take it, by reason.
fn waiting(state: &State, task: &Task, now: Timestamp) -> Vec<wire::Waiting> {
    if task.open_slots() == 0 {
        return Vec::new();
    }
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for node in state.nodes.values().take(NODES_ASKED_MAX) {
        let refused = schedule::refusal(state, task, node, now);
        // A suspension holds the task back from all of them.
        let held = schedule::held(state, task).map(|held| held.code());
        let reason = held.or(refused.map(|r| r.code())).unwrap_or("eligible");
        *reasons.entry(reason).or_default() += 1;
    }
    let reasons = reasons.into_iter().map(|(reason, nodes)| wire::Waiting {
        reason: reason.into(),
        nodes,
    });
    reasons.collect()
}

fn assignment(
    app: &App,
    state: &State,
    task: &Task,
    assignment: &Assignment,
) -> ApiResult<wire::Assignment> {
    let node = state.nodes.get(&assignment.node);
    let mut view = wire::Assignment {
        id: assignment.id.to_string(),
        node: assignment.node.to_string(),
        node_name: node.map(|n| n.profile.name.clone()).unwrap_or_default(),
        owner: node.map(|n| n.owner.to_string()).unwrap_or_default(),
        round: assignment.round,
        state: assignment.state_name().into(),
        leased_at: time(assignment.leased_at),
        started_at: assignment.started_at.map(time),
        ended_at: None,
        doubles: assignment.doubles.map(|run| run.to_string()),
        resumed_from: assignment.resume.map(|b| b.digest.to_string()),
        checkpoint_author: assignment.author.map(|node| node.to_string()),
        price: assignment.price.to_string(),
        is_staked: assignment.is_staked,
        stake: assignment.stake.to_string(),
        progress: None,
        commitment: assignment.commitment().map(|c| c.digest.to_string()),
        reason: None,
        message: None,
        report: None,
    };
    match &assignment.stage {
        Stage::Leased | Stage::Committed(_) | Stage::Shown(_) | Stage::Withdrawn => {}
        Stage::Running { ppm, note, .. } => {
            let recorded = (*ppm, note.clone());
            let (ppm, note) = app.live.progress(assignment.id).unwrap_or(recorded);
            view.progress = Some(wire::Progress { ppm, note });
        }
        Stage::Revealed(revealed) | Stage::Accepted(revealed) => {
            view.report = open_report(task, Some(&*revealed.report))?;
        }
        Stage::Refused { reason, report, .. } => {
            view.reason = Some(name_of(reason));
            view.report = open_report(task, report.as_deref())?;
        }
        Stage::Lost { reason, at } => {
            view.reason = Some(name_of(reason));
            view.ended_at = Some(time(*at));
        }
        Stage::Returned { counted, at } => {
            view.reason = counted.then(|| "counted".to_owned());
            view.ended_at = Some(time(*at));
        }
        Stage::Failed { class, message, at } => {
            view.reason = Some(name_of(class));
            view.message = Some(message.clone());
            view.ended_at = Some(time(*at));
        }
    }
    Ok(view)
}

/// What a node revealed is the requester's once it is paid for.
fn open_report(task: &Task, report: Option<&Report>) -> ApiResult<Option<wire::Report>> {
    let open = report.filter(|_| task.result_is_open());
    open.map(to_wire).transpose()
}

fn verdict(task: &Task) -> ApiResult<Option<wire::Verdict>> {
    let Some(record) = &task.verdict else {
        return Ok(None);
    };
    let node_of = |id: &AssignmentId| {
        let assignment = task.assignments.get(id);
        assignment.map(|a| a.node.to_string()).unwrap_or_default()
    };
    let refused = record.refused.iter().map(|r| wire::Refusal {
        assignment: r.assignment.to_string(),
        node: node_of(&r.assignment),
        reason: name_of(&r.reason),
    });
    Ok(Some(wire::Verdict {
        verdict: name_of(&record.verdict),
        accepted: record.accepted.iter().map(ToString::to_string).collect(),
        refused: refused.collect(),
        checks: record.checks.iter().map(check).collect(),
        outputs: artifacts(&record.outputs),
        result: record.result.as_ref().map(blob),
        metrics: metrics(task, record)?,
        late: record.late,
    }))
}

/// The metrics of the accepted result.
pub(super) fn metrics(task: &Task, record: &VerdictRecord) -> ApiResult<Vec<wire::MetricValue>> {
    let first = record
        .accepted
        .first()
        .and_then(|id| task.assignments.get(id));
    match first.map(|a| &a.stage) {
        Some(Stage::Accepted(revealed)) => to_wire(&revealed.report.metrics),
        Some(_) | None => Ok(Vec::new()),
    }
}

pub(super) fn check(check: &CheckResult) -> wire::CheckResult {
    wire::CheckResult {
        check: check.check.clone(),
        passed: check.passed,
        detail: check.detail.clone(),
    }
}

/// Where a task's receipt is.
fn receipt_path(task: TaskId) -> String {
    format!("/v1/tasks/{task}/receipt")
}

fn inspection(inspection: &Inspection) -> wire::TaskInspection {
    let compares = inspection.against.map(|against| {
        let pair = [inspection.assignment, against];
        pair.iter().map(ToString::to_string).collect()
    });
    wire::TaskInspection {
        by: inspection.by.to_string(),
        method: inspection.method,
        compares: compares.unwrap_or_default(),
        escrow: inspection.escrow.to_string(),
        state: match &inspection.outcome {
            None => "open".into(),
            Some(outcome) => name_of(outcome),
        },
    }
}

fn review(task: &Task) -> Option<wire::TaskReview> {
    let state = match &task.review {
        Review::None => return None,
        Review::Due { .. } => "due".into(),
        Review::Open { .. } => "open".into(),
        Review::Ended { outcome, .. } => name_of(outcome),
    };
    let by = task.review.by().map(|id| id.to_string());
    Some(wire::TaskReview { state, by })
}

fn settlement(task: &Task, settlement: &Settlement) -> wire::Settlement {
    let shares = settlement.shares.iter().map(|share| wire::Share {
        role: name_of(&share.role),
        account: share.account.map(|a| a.to_string()),
        node: share.node.map(|n| n.to_string()),
        content: share.content.map(|c| c.to_string()),
        amount: share.amount.to_string(),
    });
    let waits = task.matured_at().is_none() && task.phase != Phase::Overturned;
    let held = Some(settlement.held).filter(|held| waits && !held.is_zero());
    wire::Settlement {
        held: held.map(|held| held.to_string()),
        fee: settlement.fee.to_string(),
        refund: settlement.refund.to_string(),
        shares: shares.collect(),
        matures_at: settlement.matures_at.map(time),
        matured_at: task.matured_at().map(time),
    }
}
