//! Signs of life. They extend leases in memory and are no events; progress is recorded now and then.

use aevir_platform::{
    amount::PPM,
    command::Command,
    ids::{AssignmentId, TaskId},
    state::Stage,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use tokio::time::Instant;

use super::{action, show_life};
use crate::{
    app::{App, now},
    auth::NodeCaller,
    error::{ApiError, ApiResult, Code},
    extract::Json,
    live::{Known, LINE_CHARS_MAX},
    submit::submit,
};

/// Assignments of one heartbeat.
const ASSIGNMENTS_MAX: usize = 256;
/// Log lines, and metric values, that are kept of one heartbeat.
const ENTRIES_MAX: usize = 200;
/// Characters of a progress note.
const NOTE_CHARS_MAX: usize = 400;
/// Longest name or number of a metric.
const METRIC_BYTES_MAX: usize = 64;

/// Extends the leases of the named assignments and says what to do with each. Shows that the node is there.
#[utoipa::path(post, path = "/v1/node/heartbeats", tag = "node", request_body = wire::Heartbeats,
    responses((status = 200, body = wire::Directives)))]
pub(super) async fn heartbeat(
    State(app): State<App>,
    caller: NodeCaller,
    Json(beats): Json<wire::Heartbeats>,
) -> ApiResult<Reply<wire::Directives>> {
    if beats.assignments.len() > ASSIGNMENTS_MAX {
        let detail = format!("at most {ASSIGNMENTS_MAX} assignments");
        return Err(ApiError::new(Code::FieldInvalid, detail).at("/assignments"));
    }
    show_life(&app, caller, beats.stopping).await?;
    let mut directives = Vec::new();
    for beat in beats.assignments {
        let action = take(&app, caller, &beat).await;
        let assignment = beat.assignment;
        directives.push(wire::Directive { assignment, action });
    }
    Ok(Reply(wire::Directives { directives }))
}

async fn take(app: &App, caller: NodeCaller, beat: &wire::Heartbeat) -> wire::Action {
    let unknown = wire::Action::Stop {
        reason: wire::StopReason::Unknown,
    };
    let Ok(id) = beat.assignment.parse::<AssignmentId>() else {
        return unknown;
    };
    let (action, said) = app.log.read(|state, _| {
        let alive = state
            .assignment(id)
            .filter(|(_, a)| a.node == caller.node && a.is_active());
        let alive = alive.map(|(task, a)| {
            let mut leases = app.live.leases();
            leases.extend(id, Instant::now());
            let said = Said {
                task: task.id,
                // Here, where it can't end meanwhile: nobody would forget it.
                known: leases.hear(id, beat),
                is_running: matches!(a.stage, Stage::Running { .. }),
            };
            // Whatever a comparison says could be what it compares, and the requester would read it.
            task.compares().is_none().then_some(said)
        });
        (action(state, caller.node, id), alive.flatten())
    });
    if let Some(said) = said {
        tell(app, caller, id, beat, &said).await;
    }
    action
}

/// What a run says is of this task, and so much of it is no news.
struct Said {
    task: TaskId,
    known: Known,
    is_running: bool,
}

/// Passes on what the run says.
async fn tell(
    app: &App,
    caller: NodeCaller,
    id: AssignmentId,
    beat: &wire::Heartbeat,
    said: &Said,
) {
    let Said { task, known, .. } = *said;
    let lines = lines(beat, known.lines);
    let metrics = metrics(beat, known.metrics);
    let beyond = beat.logs.len() - known.lines - lines.len();
    let dropped = u64::from(known.lines_dropped).saturating_add(beyond as u64);
    app.live.logs().add(task, &lines, dropped, &metrics);
    for line in lines {
        app.live.publish(task, wire::TaskUpdate::Log { line });
    }
    for metric in metrics {
        app.live.publish(task, wire::TaskUpdate::Metric { metric });
    }
    if !said.is_running {
        return;
    }
    let ppm = beat.ppm.min(PPM as u32);
    let note: String = beat.note.chars().take(NOTE_CHARS_MAX).collect();
    let due = app.live.leases().report(id, Instant::now(), ppm, &note);
    let progress = wire::TaskUpdate::Progress {
        assignment: id.to_string(),
        node: caller.node.to_string(),
        ppm,
        note: note.clone(),
    };
    app.live.publish(task, progress);
    if due {
        let node = caller.node;
        let command = Command::ReportProgress {
            node,
            assignment: id,
            ppm,
            note,
        };
        // The lease may have ended meanwhile: the next heartbeat tells the node so.
        if let Err(error) = submit(app, caller.actor(), None, command).await {
            tracing::debug!(code = error.code(), "progress was not recorded");
        }
    }
}

/// Its lines, but for so many that are known.
fn lines(beat: &wire::Heartbeat, known: usize) -> Vec<wire::TaskLogLine> {
    let time = now().to_string();
    let lines = beat.logs.iter().skip(known).take(ENTRIES_MAX);
    let lines = lines.map(|line| wire::TaskLogLine {
        time: time.clone(),
        assignment: beat.assignment.clone(),
        level: line.level.chars().take(8).collect(),
        text: line.text.chars().take(LINE_CHARS_MAX).collect(),
    });
    lines.collect()
}

/// Its metrics, but for so many that are known.
fn metrics(beat: &wire::Heartbeat, known: usize) -> Vec<wire::TaskMetric> {
    let short = |text: &str| text.len() <= METRIC_BYTES_MAX;
    let metrics = beat.metrics.iter().skip(known).take(ENTRIES_MAX);
    let metrics = metrics.filter(|m| short(&m.name) && short(&m.step) && short(&m.value));
    let metrics = metrics.map(|metric| wire::TaskMetric {
        assignment: beat.assignment.clone(),
        name: metric.name.clone(),
        step: metric.step.clone(),
        value: metric.value.clone(),
    });
    metrics.collect()
}
