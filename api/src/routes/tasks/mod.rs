//! Tasks: submitted, listed, followed, cancelled, and their results read.

mod dispute;
mod list;
mod plan;
mod receipt;
mod result;
mod submit;
mod view;
mod watch;

use aevir_platform::{
    command::{Command, Scope},
    ids::TaskId,
    rejection::Rejection,
    state::{State as Platform, Task},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use tracing::{Span, field::display};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use list::whose;

use crate::{
    app::{App, now},
    auth::Caller,
    error::{ApiError, ApiResult},
    extract::{IdempotencyKey, Path},
    submit::{event, submit as submit_command},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(submit::submit_task, list::list_tasks))
        .routes(routes!(list::list_assignments))
        .routes(routes!(show_task))
        .routes(routes!(cancel_task))
        .merge(dispute::routes())
        .routes(routes!(plan::quote_task))
        .routes(routes!(plan::why_task))
        .routes(routes!(result::task_result))
        .routes(routes!(result::task_output))
        .routes(routes!(result::task_log))
        .routes(routes!(receipt::task_receipt))
        .routes(routes!(watch::watch_task))
}

/// Everything about one task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::Task)))]
async fn show_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::Task>> {
    caller.require(Scope::Read)?;
    let task = with_task(&app, &caller, &id, |state, task| {
        view::task(&app, state, task, now())
    })?;
    Ok(Reply(task?))
}

/// Cancels a task: work done under a lease is paid, the rest of the escrow comes back.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::CloseOutcome)))]
async fn cancel_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
) -> ApiResult<Reply<wire::CloseOutcome>> {
    caller.require(Scope::TasksWrite)?;
    let task = task_id(&id)?;
    let requester = caller.account;
    let command = Command::CancelTask { requester, task };
    let receipt = submit_command(&app, caller.actor(), key, command).await?;
    let closed = event!(&receipt, TaskClosed)?;
    Ok(Reply(wire::CloseOutcome {
        id,
        state: "cancelled".into(),
        fee: closed.fee.to_string(),
        refund: closed.refund.to_string(),
    }))
}

/// Calls `read` with a task of the caller's own: its result, outputs, log and live updates are the requester's alone,
/// whatever else a key may read.
fn with_own_task<T>(
    app: &App,
    caller: &Caller,
    id: &str,
    read: impl FnOnce(&Platform, &Task) -> T,
) -> ApiResult<T> {
    let account = caller.account;
    let own =
        |state: &Platform, task: &Task| (task.requester == account).then(|| read(state, task));
    let unknown = Rejection::UnknownTask { task: task_id(id)? };
    with_task(app, caller, id, own)?.ok_or_else(|| unknown.into())
}

/// Calls `read` with a task that the caller may see; another account's does not exist for it.
fn with_task<T>(
    app: &App,
    caller: &Caller,
    id: &str,
    read: impl FnOnce(&Platform, &Task) -> T,
) -> ApiResult<T> {
    let task = task_id(id)?;
    let visible = |t: &&Task| t.requester == caller.account || caller.sees_all();
    let read = app.log.read(|state, _| {
        let task = state.tasks.get(&task).filter(visible)?;
        Some(read(state, task))
    });
    read.ok_or_else(|| Rejection::UnknownTask { task }.into())
}

/// An id that can't be parsed is one that does not exist.
fn task_id(text: &str) -> ApiResult<TaskId> {
    let Ok(id) = text.parse() else {
        let unknown = Rejection::UnknownTask {
            task: TaskId(Default::default()),
        };
        return Err(ApiError::from(unknown).with_detail(format!("there is no task {text}")));
    };
    Span::current().record("task", display(id));
    Ok(id)
}
