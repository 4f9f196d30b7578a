//! A verdict is doubted: fresh replicas look at it again.

use aevir_platform::command::{Command, Scope};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::task_id;
use crate::{
    app::App,
    auth::Caller,
    convert::parse,
    error::ApiResult,
    extract::{IdempotencyKey, Json, Path},
    submit::{event, submit as submit_command},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(dispute_task))
}

/// Has a verdict looked at again, while its dispute window is open: by its requester, or by the owner of a node whose result
/// it refuses as another one. As much of the bond is taken as the fresh replicas may cost; whoever was wrong pays for them, and who has
/// others' payment wait for a review that brings no verdict pays those for it. Without nodes that could take them it is refused.
#[utoipa::path(post, path = "/v1/tasks/{id}/dispute", tag = "tasks", params(("id" = String, Path)),
    request_body = wire::DisputeTask, responses((status = 200, body = wire::Disputed)))]
async fn dispute_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::DisputeTask>,
) -> ApiResult<Reply<wire::Disputed>> {
    caller.require_one_of(&[Scope::TasksWrite, Scope::NodesWrite])?;
    let command = Command::Dispute {
        account: caller.account,
        task: task_id(&id)?,
        reason: request.reason,
        bond: parse("/bond", &request.bond)?,
    };
    let receipt = submit_command(&app, caller.actor(), key, command).await?;
    let opened = event!(&receipt, ReviewOpened)?;
    Ok(Reply(wire::Disputed {
        id,
        review: opened.review.to_string(),
        bond: opened.bond.to_string(),
    }))
}
