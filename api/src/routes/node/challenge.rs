//! A node shows how fast its GPU is: the work is handed out with an answer to its ask for leases, and what it came to is told here.

use std::sync::Arc;

use aevir_events::Timestamp;
use aevir_platform::{Actor, command::Command, event::ComputeOutcome, hexbytes::Hex, ids::NodeId};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    app::{App, now},
    auth::NodeCaller,
    convert::into_domain,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    live::{OpenChallenge, Wanted},
    submit::submit,
};

/// What a node is to be asked now, where it asks for leases. Its clock runs from here.
pub(super) fn hand(app: &App, node: NodeId, heard: Option<&str>) -> Option<wire::Challenge> {
    let wanted = wanted(app, node, now())?;
    let mut challenges = app.live.challenges();
    challenges.hand(node, &wanted, heard, Instant::now())
}

fn wanted(app: &App, node: NodeId, at: Timestamp) -> Option<Wanted> {
    app.log.read(|state, _| {
        let policy = state.policy()?.1.scheduling.compute;
        let node = state.nodes.get(&node)?;
        Some(Wanted::of(node, policy, at))
    })
}

/// The values of a challenge are computed: the server's clock stops, and it says which of them are to be opened.
#[utoipa::path(post, path = "/v1/node/challenges/{id}/root", tag = "node", params(("id" = String, Path)),
    request_body = wire::ChallengeRoot, responses((status = 200, body = wire::ChallengeIndices)))]
pub(super) async fn root(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Json(request): Json<wire::ChallengeRoot>,
) -> ApiResult<Reply<wire::ChallengeIndices>> {
    let arrived = Instant::now();
    let Hex(root): Hex<32> = into_domain("/root", &request.root)?;
    let mut challenges = app.live.challenges();
    let indices = challenges.answer(caller.node, &id, root, arrived)?;
    Ok(Reply(wire::ChallengeIndices { indices }))
}

/// Opens these values. What they show is recorded.
#[utoipa::path(post, path = "/v1/node/challenges/{id}/openings", tag = "node", params(("id" = String, Path)),
    request_body = wire::ChallengeOpenings, responses((status = 204)))]
pub(super) async fn openings(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Json(request): Json<wire::ChallengeOpenings>,
) -> ApiResult<StatusCode> {
    let node = caller.node;
    let Some(open) = app.live.challenges().judge(node, &id)? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    // Whatever becomes of the call: who hangs up has been asked all the same.
    let judging = tokio::spawn(judge(app, node, open, request.openings));
    let judged = judging.await;
    judged.map_err(|e| ApiError::internal("the check broke off", &e))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Computes the values again, and records what that shows.
async fn judge(
    app: App,
    node: NodeId,
    open: OpenChallenge,
    openings: Vec<wire::ChallengeOpening>,
) -> ApiResult<()> {
    // One at a time: 16 values of a high class take a core some seconds, and others need theirs.
    let turn = Arc::clone(&app.live.judging_challenges)
        .acquire_owned()
        .await;
    let judged = spawn_blocking(move || {
        let _turn = turn;
        (open.is_right(&openings), open)
    });
    let recorded = match judged.await {
        Ok((is_right, open)) => {
            let outcome = match is_right {
                true => ComputeOutcome::Shown,
                false => ComputeOutcome::Wrong,
            };
            tracing::info!(%node, ?outcome, "a node's GPU was checked");
            let check = open.check(node, outcome, Instant::now());
            let command = Command::CheckCompute(check);
            submit(&app, Actor::System, None, command).await.map(drop)
        }
        Err(e) => Err(ApiError::internal("the check broke off", &e)),
    };
    if let Err(error) = &recorded {
        let code = error.code();
        tracing::warn!(%node, code, "what a check showed was not recorded: the node is asked again");
    }
    challenge_ended(&app, node);
    recorded
}

/// What a challenge came to stands in the log, or could not be recorded: draws when the node is asked next.
pub(crate) fn challenge_ended(app: &App, node: NodeId) {
    let wanted = wanted(app, node, now());
    let mut challenges = app.live.challenges();
    challenges.ended(node, wanted.as_ref(), Instant::now());
}
