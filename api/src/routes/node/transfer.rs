//! Bytes of an assignment: its inputs, module and checkpoint out, its outputs and checkpoints in.

use aevir_events::LeaderSecret;
use aevir_platform::{
    CHECKPOINT_BYTES_MAX,
    command::Command,
    digest::Digest,
    ids::AssignmentId,
    inputs_of,
    rejection::Rejection,
    report::BlobRef,
    state::{Assignment, Stage, State as Platform, TASK_CHECKPOINT_BYTES_MAX, Task},
};
use aevir_wire as wire;
use axum::{Json as Reply, body::Body, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{assignment_id, with_assignment};
use crate::{
    app::App,
    auth::NodeCaller,
    convert::{blob, parse, size},
    error::{ApiError, ApiResult, Code},
    extract::{Path, Query},
    objects::PutError,
    stream::{check_length, object, upload},
    submit::submit,
};

const MIB: u64 = 1024 * 1024;

/// Uploads an output of a run that has begun, any time before the reveal. All outputs together have the task's limit.
#[utoipa::path(put, path = "/v1/node/assignments/{id}/outputs/{digest}", tag = "node",
    params(("id" = String, Path), ("digest" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = wire::BlobRef)))]
pub(super) async fn put_output(
    State(app): State<App>,
    caller: NodeCaller,
    Path((id, digest)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Reply<wire::BlobRef>> {
    let id = assignment_id(&id)?;
    let digest: Digest = parse("", &digest)?;
    let (most, room) = with_assignment(&app, caller, id, |_, task, assignment| {
        let most = u64::from(task.definition.limits.output_mib) * MIB;
        let room = upload_room(assignment, digest, (most, app.log.secret()));
        Ok::<_, ApiError>((most, room?))
    })??;
    let full = |_| {
        let detail = format!("the outputs of this assignment may have {most} bytes in all");
        ApiError::new(Code::OutputLimit, detail)
    };
    check_length(&headers, room).map_err(full)?;
    let stored = app.objects.put(digest, room, upload(body)).await;
    let stored = stored.map_err(|e| match e {
        PutError::TooLarge { .. } => full(e.into()),
        other => other.into(),
    })?;
    let stored = BlobRef {
        digest,
        size: size(stored),
    };
    let command = Command::RecordOutput {
        node: caller.node,
        assignment: id,
        blob: stored,
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(Reply(blob(&stored)))
}

/// How many bytes an output may have beside those that were brought before, of `most` in all. Bringing the same
/// one again does not count twice.
fn upload_room(
    assignment: &Assignment,
    digest: Digest,
    (most, secret): (u64, &LeaderSecret),
) -> ApiResult<u64> {
    if assignment.stage == Stage::Leased {
        return Err(Rejection::NotStarted.into());
    }
    if !assignment.may_upload() {
        return Err(Rejection::LeaseEnded.into());
    }
    Ok(most.saturating_sub(assignment.bytes_beside(digest, secret)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// SHA-256 of the checkpoint, in hex.
    digest: String,
}

/// Saves a checkpoint of the run. All checkpoints of the task together have a limit.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/checkpoint", tag = "node",
    params(("id" = String, Path), Named),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = wire::Checkpointed)))]
pub(super) async fn put_checkpoint(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Query(query): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Reply<wire::Checkpointed>> {
    let id = assignment_id(&id)?;
    let digest: Digest = parse("", &query.digest)?;
    let room = active(&app, caller, id, |_, task, _| task.checkpoint_room())?;
    app.live.rates.checkpoint(id)?;
    let full = || Rejection::CheckpointsFull {
        most: TASK_CHECKPOINT_BYTES_MAX,
    };
    let most = CHECKPOINT_BYTES_MAX.min(room);
    check_length(&headers, most).map_err(|too_large| {
        if room < CHECKPOINT_BYTES_MAX {
            full().into()
        } else {
            too_large
        }
    })?;
    let stored = app.objects.put(digest, most, upload(body)).await;
    let stored = stored.map_err(|error| match error {
        PutError::TooLarge { .. } if room < CHECKPOINT_BYTES_MAX => full().into(),
        other => ApiError::from(other),
    })?;
    let checkpoint = BlobRef {
        digest,
        size: size(stored),
    };
    let command = Command::SaveCheckpoint {
        node: caller.node,
        assignment: id,
        checkpoint,
    };
    submit(&app, caller.actor(), None, command).await?;
    let checkpoint = blob(&checkpoint);
    Ok(Reply(wire::Checkpointed { checkpoint }))
}

/// An input of the assignment.
#[utoipa::path(get, path = "/v1/node/assignments/{id}/inputs/{name}", tag = "node",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn get_input(
    State(app): State<App>,
    caller: NodeCaller,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let secret = app.log.secret();
    let input = active(&app, caller, assignment_id(&id)?, |state, task, _| {
        let inputs = inputs_of(state, task, Some(secret));
        inputs.iter().find(|i| i.name == name).map(|i| i.digest)
    })?;
    let digest = input.ok_or_else(|| {
        ApiError::new(
            Code::InputUnknown,
            format!("the assignment has no input `{name}`"),
        )
    })?;
    object(&app, digest, &headers).await
}

/// The module of the assignment.
#[utoipa::path(get, path = "/v1/node/assignments/{id}/module", tag = "node", params(("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/wasm")))]
pub(super) async fn get_module(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = assignment_id(&id)?;
    let digest = active(&app, caller, id, |_, task, _| task.definition.module)?;
    object(&app, digest, &headers).await
}

/// The checkpoint that the assignment resumes from.
#[utoipa::path(get, path = "/v1/node/assignments/{id}/checkpoint", tag = "node", params(("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn get_checkpoint(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = assignment_id(&id)?;
    let resume = active(&app, caller, id, |_, _, assignment| assignment.resume)?;
    let resume = resume.ok_or_else(|| {
        ApiError::new(
            Code::CheckpointUnknown,
            "the assignment resumes from no checkpoint",
        )
    })?;
    object(&app, resume.digest, &headers).await
}

/// Calls `read` with the node's own assignment while its lease lasts.
fn active<T>(
    app: &App,
    caller: NodeCaller,
    id: AssignmentId,
    read: impl FnOnce(&Platform, &Task, &Assignment) -> T,
) -> ApiResult<T> {
    with_assignment(app, caller, id, |state, task, assignment| {
        if assignment.is_active() {
            Ok(read(state, task, assignment))
        } else {
            Err(Rejection::LeaseEnded.into())
        }
    })?
}
