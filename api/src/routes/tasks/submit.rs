//! A task definition becomes a task.

use aevir_platform::{
    checked_definition_bytes,
    command::{Command, Scope},
    definition::TaskDefinition,
    digest::Digest,
    validate,
};
use aevir_wire as wire;
use axum::{
    Json as Reply,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use serde_json::Value;
use tracing::{Span, field::display};

use super::super::contents::licence;
use crate::{
    app::App,
    auth::Caller,
    error::ApiResult,
    extract::{IdempotencyKey, Json},
    objects,
    submit::{event, may_begin, submit},
};

/// Submits a task definition (`schemas/task.v1.json`). The worst case is locked in escrow at once.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = Object,
    params(("idempotency-key" = Option<String>, Header, description = "Repeating a request with it answers the original task.")),
    responses((status = 201, body = wire::SubmittedTask), (status = 200, body = wire::SubmittedTask)))]
pub(super) async fn submit_task(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(definition): Json<Value>,
) -> ApiResult<(StatusCode, HeaderMap, Reply<wire::SubmittedTask>)> {
    caller.require(Scope::TasksWrite)?;
    may_begin(&app, &caller, key.as_deref()).await?;
    let definition = app.task_schema.read(&definition)?;
    validate(&definition)?;
    let target = definition.model.as_ref().and_then(|m| m.target.as_ref());
    if let Some(target) = target {
        licence("/model/target/licence", target.licence.clone())?;
    }
    store_inline_inputs(&app, &definition).await?;
    store_definition(&app, &definition).await?;
    let command = Command::SubmitTask {
        requester: caller.account,
        definition: Box::new(definition),
    };
    let receipt = submit(&app, caller.actor(), key, command).await?;
    let created = event!(&receipt, TaskCreated)?;
    Span::current().record("task", display(created.task));
    let state = app.log.read(|state, _| {
        let task = state.tasks.get(&created.task);
        task.map_or("created", |t| t.phase.name())
    });
    let submitted = wire::SubmittedTask {
        id: created.task.to_string(),
        state: state.into(),
        escrow: created.escrow.to_string(),
    };
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/tasks/{}", created.task)) {
        headers.insert(header::LOCATION, location);
    }
    let status = if receipt.replayed {
        headers.insert(wire::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, headers, Reply(submitted)))
}

/// A check module opens the definition as the log records it.
async fn store_definition(app: &App, definition: &TaskDefinition) -> ApiResult<()> {
    if definition.check_modules().next().is_none() {
        return Ok(());
    }
    let bytes = checked_definition_bytes(&definition.without_inline());
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    app.objects.put(digest, size, objects::once(bytes)).await?;
    Ok(())
}

/// The log records the digests of inline inputs; their bytes must be there before it does.
async fn store_inline_inputs(app: &App, definition: &TaskDefinition) -> ApiResult<()> {
    for text in definition.inline_inputs() {
        let digest = Digest::of(text.as_bytes());
        let bytes = objects::once(text.to_owned());
        app.objects.put(digest, text.len() as u64, bytes).await?;
    }
    Ok(())
}
