//! Tasks: submitted, listed, followed, cancelled, and their results read.

mod receipt;
mod result;
mod submit;
mod view;
mod watch;

use aevir_platform::{
    command::{Command, Scope},
    definition::TaskType,
    ids::TaskId,
    rejection::Rejection,
    state::{State as Platform, Task},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use serde::Deserialize;
use tracing::{Span, field::display};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, now},
    auth::Caller,
    convert::from_name,
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Path, Query},
    submit::{event, submit as submit_command},
};

/// Tasks of one page when no limit is asked for.
const PAGE: u32 = 50;
/// Most tasks of one page.
const PAGE_MAX: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(submit::submit_task, list_tasks))
        .routes(routes!(show_task))
        .routes(routes!(cancel_task))
        .routes(routes!(result::task_result))
        .routes(routes!(result::task_output))
        .routes(routes!(result::task_log))
        .routes(routes!(receipt::task_receipt))
        .routes(routes!(watch::watch_task))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    state: Option<String>,
    /// `training`, `inference`, `evaluation` or `data-processing`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `name=value`.
    label: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Those of all accounts; scope `audit` or `admin`.
    #[serde(default)]
    all: bool,
}

/// Tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(Filter),
    responses((status = 200, body = wire::TaskPage)))]
async fn list_tasks(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> ApiResult<Reply<wire::TaskPage>> {
    caller.require(Scope::Read)?;
    if filter.all {
        caller.require_one_of(&[Scope::Audit, Scope::Admin])?;
    }
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid("`limit` is 1 to 200"));
    }
    let wanted = Wanted::read(&filter)?;
    let page = app.log.read(|state, _| {
        let limit = limit as usize;
        let mut tasks = if filter.all {
            wanted.pick(&app, state.tasks.values().rev(), limit)
        } else {
            wanted.pick(&app, state.tasks_of(caller.account).rev(), limit)
        };
        let more = tasks.len() > limit;
        tasks.truncate(limit);
        let next = tasks.last().filter(|_| more).map(|t| t.id.clone());
        wire::TaskPage { tasks, next }
    });
    Ok(Reply(page))
}

/// A filter that was understood.
struct Wanted<'a> {
    state: Option<&'a str>,
    kind: Option<TaskType>,
    label: Option<(&'a str, &'a str)>,
    after: Option<TaskId>,
}

impl<'a> Wanted<'a> {
    fn read(filter: &'a Filter) -> ApiResult<Self> {
        let kind = filter.kind.as_deref().map(|kind| from_name("", kind));
        let label = filter.label.as_deref().map(|label| label.split_once('='));
        let after = filter.after.as_deref().map(str::parse);
        Ok(Self {
            state: filter.state.as_deref(),
            kind: kind
                .transpose()
                .map_err(|_| invalid("`type` is no type of task"))?,
            label: match label {
                Some(None) => return Err(invalid("`label` is `name=value`")),
                Some(pair) => pair,
                None => None,
            },
            after: after
                .transpose()
                .map_err(|_| invalid("`after` is no page's `next`"))?,
        })
    }

    /// One task more than `limit`, so that the caller sees whether there is a next page.
    fn pick<'t>(
        &self,
        app: &App,
        newest_first: impl Iterator<Item = &'t Task>,
        limit: usize,
    ) -> Vec<wire::TaskSummary> {
        let matching = newest_first.filter(|task| {
            let labels = &task.definition.labels;
            self.after.is_none_or(|after| task.id < after)
                && self.state.is_none_or(|s| task.phase.name() == s)
                && self.kind.is_none_or(|k| task.definition.kind == k)
                && self
                    .label
                    .is_none_or(|(name, value)| labels.get(name).is_some_and(|v| v == value))
        });
        matching
            .take(limit + 1)
            .map(|t| view::summary(app, t))
            .collect()
    }
}

fn invalid(detail: &str) -> ApiError {
    ApiError::new(Code::QueryInvalid, detail)
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
