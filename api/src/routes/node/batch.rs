//! Many calls of a node in one request. They wait for the log together, so that one commit of it can take them all.

use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use futures::future::join_all;
use wire::{BATCH_ITEMS_MAX, NodeCall};

use super::assignment;
use crate::{
    app::App,
    auth::NodeCaller,
    error::{ApiError, ApiResult, Code},
    extract::{Json, Path},
};

/// Starts, commits, reveals, failures and returns of several assignments, each answered apart: one that is refused leaves the others
/// alone. Answers 200 also where all of them were refused.
#[utoipa::path(post, path = "/v1/node/assignments", tag = "node", request_body = wire::Batch,
    responses((status = 200, body = wire::BatchAnswers)))]
pub(super) async fn batch(
    State(app): State<App>,
    caller: NodeCaller,
    Json(batch): Json<wire::Batch>,
) -> ApiResult<Reply<wire::BatchAnswers>> {
    if !(1..=BATCH_ITEMS_MAX).contains(&batch.items.len()) {
        let detail = format!("a batch has 1 to {BATCH_ITEMS_MAX} items");
        return Err(ApiError::new(Code::FieldInvalid, detail).at("/items"));
    }
    let items = batch.items.into_iter();
    let answers = items.map(|item| take(app.clone(), caller, item));
    let answers = join_all(answers).await;
    Ok(Reply(wire::BatchAnswers { answers }))
}

async fn take(app: App, caller: NodeCaller, item: wire::BatchItem) -> wire::BatchAnswer {
    let (state, id) = (State(app), Path(item.assignment.clone()));
    let taken: ApiResult<StatusCode> = match item.call {
        NodeCall::Start => assignment::start(state, caller, id).await,
        NodeCall::Commit(commit) => assignment::commit(state, caller, id, Json(commit)).await,
        NodeCall::Reveal(reveal) => assignment::reveal(state, caller, id, Json(*reveal)).await,
        NodeCall::Return => assignment::give_back(state, caller, id).await,
        NodeCall::Fail(fail) => assignment::fail(state, caller, id, Json(fail)).await,
    };
    wire::BatchAnswer {
        assignment: item.assignment,
        problem: taken.err().map(ApiError::problem),
    }
}
