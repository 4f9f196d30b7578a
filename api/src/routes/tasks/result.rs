//! What a task brought: its inline result, its outputs, its log.

use aevir_platform::{
    RESULT_BYTES_MAX,
    command::Scope,
    state::{Task, VerdictRecord},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::HeaderMap, response::Response};

use super::{task_id, view, with_own_task};
use crate::{
    app::App,
    auth::Caller,
    convert::artifacts,
    error::{ApiError, ApiResult, Code},
    extract::{Path, parse_json},
    objects,
    stream::object,
};

/// The inline result, once it is open.
#[utoipa::path(get, path = "/v1/tasks/{id}/result", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::TaskResult)))]
pub(super) async fn task_result(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::TaskResult>> {
    caller.require(Scope::Read)?;
    let read = with_own_task(&app, &caller, &id, |_, task| {
        let record = open(task)?;
        let result = wire::TaskResult {
            task: task.id.to_string(),
            state: task.phase.name().into(),
            result: serde_json::Value::Null,
            outputs: artifacts(&record.outputs),
            metrics: view::metrics(task, record)?,
            checks: record.checks.iter().map(view::check).collect(),
        };
        ApiResult::Ok((record.result, result))
    });
    let (blob, mut result) = read??;
    if let Some(blob) = blob {
        let bytes = objects::read_all(app.objects.as_ref(), blob.digest, RESULT_BYTES_MAX as u64);
        let bytes = bytes.await?.ok_or_else(|| {
            ApiError::new(
                Code::ObjectLost,
                format!("blob {} is not in the object store", blob.digest),
            )
        })?;
        result.result = parse_json(&bytes)?;
    }
    Ok(Reply(result))
}

/// Streams one output of the task's result. Ranges are served.
#[utoipa::path(get, path = "/v1/tasks/{id}/outputs/{name}", tag = "tasks",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn task_output(
    State(app): State<App>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    caller.require(Scope::Read)?;
    let digest = with_own_task(&app, &caller, &id, |_, task| {
        open(task)?;
        let output = task.output(&name).map(|o| o.digest);
        output.ok_or_else(|| {
            ApiError::new(
                Code::OutputUnknown,
                format!("the result has no output `{name}`"),
            )
        })
    });
    object(&app, digest??, &headers).await
}

/// The newest log lines and metric values of the task's runs, as the nodes report them.
#[utoipa::path(get, path = "/v1/tasks/{id}/log", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::TaskLog)))]
pub(super) async fn task_log(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::TaskLog>> {
    caller.require(Scope::Read)?;
    with_own_task(&app, &caller, &id, |_, _| ())?;
    Ok(Reply(app.live.logs().of(task_id(&id)?)))
}

/// The verdict of a task whose result the requester may read: nobody computes for free by posing a bound that
/// can't be met, or by cancelling late.
fn open(task: &Task) -> ApiResult<&VerdictRecord> {
    let verdict = task.verdict.as_ref().filter(|_| task.result_is_open());
    verdict.ok_or_else(|| {
        let state = task.phase.name();
        let detail = if task.phase.is_final() {
            format!("the task ended as `{state}`, which brings no result")
        } else {
            format!("the task is `{state}`: its result opens once it has settled")
        };
        ApiError::new(Code::ResultNotOpen, detail)
    })
}
