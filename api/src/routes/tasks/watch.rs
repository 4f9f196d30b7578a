//! Following a task while it runs.

use std::sync::Arc;

use aevir_events::{Event as _, Recorded};
use aevir_platform::{command::Scope, event::Event, ids::TaskId};
use aevir_wire as wire;
use axum::{extract::State, response::Response};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::{sync::broadcast::error::RecvError, time::interval};

use super::{task_id, view, with_own_task};
use crate::{
    app::{App, now},
    auth::Caller,
    error::ApiResult,
    extract::Path,
    stream::{Gone, KEEP_ALIVE, Lines, ndjson},
};

/// Follows a task as NDJSON: first the task as it is, then what happens, at last the task as it ended.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::TaskUpdate, content_type = "application/x-ndjson")))]
pub(super) async fn watch_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    caller.require(Scope::Read)?;
    let task = task_id(&id)?;
    with_own_task(&app, &caller, &id, |_, _| ())?;
    let lines_of = app.clone();
    Ok(ndjson(&app, move |lines| async move {
        follow(&lines_of, task, &lines).await
    }))
}

async fn follow(app: &App, task: TaskId, lines: &Lines) -> Result<(), Gone> {
    // Subscribed before the first look, so that nothing falls between the two.
    let mut live = app.live.watch_updates();
    let from = app.log.head().size;
    let mut events = app.log.subscribe(from);
    if send_task(app, task, lines).await? {
        return Ok(());
    }
    let stream = format!("task/{task}");
    let mut keep_alive = interval(KEEP_ALIVE);
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(Ok(recorded)) if recorded.stream == stream => {
                    lines.json(&update(&recorded)).await?;
                    if ends(&recorded.event) {
                        send_task(app, task, lines).await?;
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    lines.abort("the log can't be followed any more").await;
                    return Err(Gone);
                }
            },
            update = live.recv() => match update {
                Ok(update) if update.task == task => lines.json(&update.update).await?,
                // Some were missed: the log still has what matters.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = keep_alive.tick() => lines.keep_alive().await?,
        }
    }
}

/// Sends the task as it is; answers whether it has ended.
async fn send_task(app: &App, id: TaskId, lines: &Lines) -> Result<bool, Gone> {
    let view = app.log.read(|state, _| {
        let task = state.tasks.get(&id)?;
        Some((view::task(app, state, task, now()), task.phase.is_final()))
    });
    let Some((Ok(task), ended)) = view else {
        return Err(Gone);
    };
    let task = Box::new(task);
    lines.json(&wire::TaskUpdate::Task { task }).await?;
    Ok(ended)
}

/// The task's last event but for its maturing.
fn ends(event: &Event) -> bool {
    matches!(event, Event::TaskSettled(_) | Event::TaskClosed(_))
}

fn update(recorded: &Arc<Recorded<Event>>) -> wire::TaskUpdate {
    wire::TaskUpdate::Event {
        position: recorded.position.to_string(),
        time: recorded.time.to_string(),
        kind: recorded.event.label().into(),
        data: shown(&recorded.event),
    }
}

/// An event's data as far as the requester may see it before the verdict.
fn shown(event: &Event) -> Value {
    match event {
        Event::AssignmentRevealed(e) => {
            json!({"task": e.report.task, "assignment": e.report.assignment, "node": e.report.node})
        }
        Event::AssignmentShown(e) => json!({"task": e.task, "assignment": e.assignment}),
        Event::AssignmentCommitted(e) => {
            json!({"task": e.task, "assignment": e.assignment, "node": e.node})
        }
        event => event.to_data(),
    }
}
