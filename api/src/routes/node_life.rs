//! Operators look after their nodes: drain, resume, leave, terms, revoke; and a node changes its key and its profile.

use aevir_platform::{
    Actor,
    amount::Amount,
    command::{Command, NodeProfile, Scope},
    digest::Digest,
    hexbytes::Hex,
    ids::{AccountId, NodeId},
    rejection::Rejection,
    rotation::SignedRotation,
    terms::NodeTerms,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::nodes::view;
use crate::{
    app::App,
    auth::{Caller, NodeCaller},
    convert::{into_domain, parse},
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Json, Path},
    live::By,
    submit::submit,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(drain_node))
        .routes(routes!(resume_node))
        .routes(routes!(leave_market))
        .routes(routes!(stake_node))
        .routes(routes!(unstake_node))
        .routes(routes!(revoke_node))
        .routes(routes!(set_node_terms))
        .routes(routes!(change_profile))
        .routes(routes!(rotate_key))
}

/// The node finishes what it has, and gets nothing new. By its owner (scope `nodes:write`) or itself.
#[utoipa::path(post, path = "/v1/nodes/{id}/drain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = wire::Node)))]
async fn drain_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::Node>> {
    keep(&app, &caller, &id, |node| Command::DrainNode { node }).await
}

/// The node takes work again. By its owner (scope `nodes:write`) or itself.
#[utoipa::path(post, path = "/v1/nodes/{id}/resume", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = wire::Node)))]
async fn resume_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::Node>> {
    keep(&app, &caller, &id, |node| Command::ResumeNode { node }).await
}

/// The node drains, and is gone for good once nothing of it is open: no run, and no result whose shares have not matured. By
/// its owner (scope `nodes:write`) or itself.
#[utoipa::path(post, path = "/v1/nodes/{id}/leave", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = wire::Node)))]
async fn leave_market(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::Node>> {
    keep(&app, &caller, &id, |node| Command::LeaveMarket { node }).await
}

/// Sets the terms on which the node is offered. By its owner (scope `nodes:write`) or itself.
#[utoipa::path(put, path = "/v1/nodes/{id}/terms", tag = "nodes", params(("id" = String, Path)),
    request_body = wire::NodeTerms, responses((status = 200, body = wire::Node)))]
async fn set_node_terms(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<wire::NodeTerms>,
) -> ApiResult<Reply<wire::Node>> {
    let terms: NodeTerms = into_domain("", &request)?;
    let terms = Box::new(terms);
    keep(&app, &caller, &id, |node| Command::ChangeTerms {
        node,
        terms,
    })
    .await
}

/// Puts money of the caller's up for the results of one of its nodes.
#[utoipa::path(post, path = "/v1/nodes/{id}/stake", tag = "nodes", params(("id" = String, Path)),
    request_body = wire::ChangeStake, responses((status = 200, body = wire::Node)))]
async fn stake_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::ChangeStake>,
) -> ApiResult<Reply<wire::Node>> {
    pledge(
        &app,
        &caller,
        &id,
        key,
        &request,
        |account, node, amount| Command::Stake {
            account,
            node,
            amount,
        },
    )
    .await
}

/// Takes back what of a node's stake covers no result, also after the node has gone.
#[utoipa::path(post, path = "/v1/nodes/{id}/unstake", tag = "nodes", params(("id" = String, Path)),
    request_body = wire::ChangeStake, responses((status = 200, body = wire::Node)))]
async fn unstake_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::ChangeStake>,
) -> ApiResult<Reply<wire::Node>> {
    pledge(
        &app,
        &caller,
        &id,
        key,
        &request,
        |account, node, amount| Command::Unstake {
            account,
            node,
            amount,
        },
    )
    .await
}

/// Shuts the node out for good: its leases are lost at once, its keys are dead. By its owner (scope `nodes:write`), or with
/// the scope `admin`.
#[utoipa::path(post, path = "/v1/nodes/{id}/revoke", tag = "nodes", params(("id" = String, Path)),
    request_body = wire::RevokeNode, responses((status = 200, body = wire::Node)))]
async fn revoke_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::RevokeNode>,
) -> ApiResult<Reply<wire::Node>> {
    caller.require_one_of(&[Scope::NodesWrite, Scope::Admin])?;
    let node = id.parse().map_err(|_| Rejection::UnknownNode)?;
    known(&app, node, |owner| {
        owner == caller.account || caller.has(Scope::Admin)
    })?;
    let reason = request.reason;
    let command = Command::RevokeNode { node, reason };
    submit(&app, caller.actor(), key, command).await?;
    shown(&app, node)
}

/// Tells that the node came back as another machine, or with another driver or version. By itself.
#[utoipa::path(put, path = "/v1/node/profile", tag = "node", request_body = wire::ChangeProfile,
    responses((status = 204)))]
async fn change_profile(
    State(app): State<App>,
    caller: NodeCaller,
    Json(request): Json<wire::ChangeProfile>,
) -> ApiResult<StatusCode> {
    let profile: NodeProfile = into_domain("/profile", &request.profile)?;
    app.live.rates.change(caller.node, By::ApiKey)?;
    let command = Command::ChangeProfile {
        node: caller.node,
        profile: Box::new(profile),
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives the node another signing key and another API key, which the signing key before has signed. The API key before is dead at once. By
/// itself.
#[utoipa::path(post, path = "/v1/node/key", tag = "node", request_body = wire::RotateKey,
    responses((status = 204)))]
async fn rotate_key(
    State(app): State<App>,
    caller: NodeCaller,
    Json(request): Json<wire::RotateKey>,
) -> ApiResult<StatusCode> {
    let new = into_domain("/public_key", &request.public_key)?;
    let key_hash: Digest = parse("/key_hash", &request.key_hash)?;
    let signature: Hex<64> = into_domain("/signature", &request.signature)?;
    let node = caller.node;
    let keys = app.log.read(|state, _| {
        let known = state.nodes.get(&node)?;
        Some((known.public_key, known.former_keys.last().copied()))
    });
    let (current, former) = keys.ok_or(Rejection::UnknownNode)?;
    // After a lost answer the new key is the current one already, and the one before it has signed.
    let old = former.filter(|_| new == current).unwrap_or(current);
    let rotation = SignedRotation::check(node, old, (new, key_hash), signature).map_err(|_| {
        let detail = "the node's present key did not sign these: sign `aevir.rotate/1`, a line feed, the node's id, a line \
                      feed, the 32 bytes of the new key and the 32 of the new API key's SHA-256";
        ApiError::new(Code::BadSignature, detail)
    })?;
    app.live.rates.change(node, By::SigningKey)?;
    submit(
        &app,
        caller.actor(),
        None,
        Command::RotateKey { node, rotation },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Submits what the owner of a node, or the node itself, wants of it; answers how it stands then.
async fn keep(
    app: &App,
    caller: &Caller,
    id: &str,
    command: impl FnOnce(NodeId) -> Command,
) -> ApiResult<Reply<wire::Node>> {
    let node: NodeId = id.parse().map_err(|_| Rejection::UnknownNode)?;
    let actor = if caller.node() == Some(node) {
        app.live.rates.change(node, By::ApiKey)?;
        Actor::Node(node)
    } else {
        caller.require(Scope::NodesWrite)?;
        // Who may see it learns from the machine that it is not his to keep, and uses nothing up.
        let owner = known(app, node, |owner| {
            caller.sees_all() || owner == caller.account
        })?;
        if owner == caller.account {
            app.live.rates.change(node, By::Owner)?;
        }
        caller.actor()
    };
    submit(app, actor, None, command(node)).await?;
    shown(app, node)
}

/// Moves money between the caller and the stake of one of its nodes; the machine says whether the node is his.
async fn pledge(
    app: &App,
    caller: &Caller,
    id: &str,
    key: Option<String>,
    request: &wire::ChangeStake,
    command: impl FnOnce(AccountId, NodeId, Amount) -> Command,
) -> ApiResult<Reply<wire::Node>> {
    caller.require(Scope::NodesWrite)?;
    let node = id.parse().map_err(|_| Rejection::UnknownNode)?;
    let amount = parse("/amount", &request.amount)?;
    known(app, node, |owner| owner == caller.account)?;
    app.live.rates.change(node, By::Owner)?;
    submit(
        app,
        caller.actor(),
        key,
        command(caller.account, node, amount),
    )
    .await?;
    shown(app, node)
}

/// The owner of a node. Another account's does not exist for the caller.
fn known(app: &App, node: NodeId, is_visible: impl Fn(AccountId) -> bool) -> ApiResult<AccountId> {
    let owner = app
        .log
        .read(|state, _| state.nodes.get(&node).map(|n| n.owner));
    let visible = owner.filter(|owner| is_visible(*owner));
    Ok(visible.ok_or(Rejection::UnknownNode)?)
}

fn shown(app: &App, node: NodeId) -> ApiResult<Reply<wire::Node>> {
    let node = app
        .log
        .read(|state, _| state.nodes.get(&node).map(|n| view(state, n)));
    Ok(Reply(node.ok_or(Rejection::UnknownNode)??))
}
