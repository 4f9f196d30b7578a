//! Nodes as seen from outside: they join, and their owners look at them.

use aevir_platform::{
    command::{Command, NodeProfile, RegisterNode, Scope},
    definition::TaskType,
    ids::NodeId,
    rejection::Rejection,
    state::{Node, Record},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, now},
    auth::Caller,
    convert::{into_domain, name_of, parse, time, to_wire},
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    submit::{event, submit},
};

/// Nodes of one answer.
const NODES_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_node, list_nodes))
        .routes(routes!(show_node))
}

/// Joins a node to the account that the token is bound to. The token is the authentication.
#[utoipa::path(post, path = "/v1/nodes", tag = "nodes", request_body = wire::RegisterNode,
    responses((status = 201, body = wire::RegisteredNode)))]
async fn register_node(
    State(app): State<App>,
    Json(request): Json<wire::RegisterNode>,
) -> ApiResult<(StatusCode, Reply<wire::RegisteredNode>)> {
    let profile: NodeProfile = into_domain("/profile", &request.profile)?;
    let token = wire::Secret::from_text(request.token);
    let token_hash = parse("/token", &token.hash())?;
    // Nobody is authenticated yet: what no token opens must not reach the log's writer.
    if !app
        .log
        .read(|state, _| state.join_tokens.contains_key(&token_hash))
    {
        return Err(Rejection::TokenUnknown.into());
    }
    let command = Command::RegisterNode(RegisterNode {
        token_hash,
        public_key: into_domain("/public_key", &request.public_key)?,
        key_hash: parse("/key_hash", &request.key_hash)?,
        profile,
    });
    let receipt = submit(&app, "system".into(), None, command).await?;
    let registered = event!(&receipt, NodeRegistered)?;
    let registered = wire::RegisteredNode {
        node: registered.node.to_string(),
        owner: registered.owner.to_string(),
    };
    Ok((StatusCode::CREATED, Reply(registered)))
}

/// The caller's nodes; all nodes for the scopes `audit` and `admin`. A node's own key shows that node, so that one
/// whose registration's answer got lost can find out that it is registered.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses((status = 200, body = wire::NodeList)))]
async fn list_nodes(State(app): State<App>, caller: Caller) -> ApiResult<Reply<wire::NodeList>> {
    caller.require_one_of(&[Scope::Read, Scope::Node])?;
    let nodes = app.log.read(|state, _| -> ApiResult<Vec<wire::Node>> {
        if let Some(node) = caller.node() {
            state.nodes.get(&node).into_iter().map(view).collect()
        } else if caller.sees_all() {
            state.nodes.values().take(NODES_MAX).map(view).collect()
        } else {
            state
                .nodes_of(caller.account)
                .take(NODES_MAX)
                .map(view)
                .collect()
        }
    });
    Ok(Reply(wire::NodeList { nodes: nodes? }))
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = wire::Node)))]
async fn show_node(
    State(app): State<App>,
    caller: Caller,
    Path(text): Path<String>,
) -> ApiResult<Reply<wire::Node>> {
    caller.require(Scope::Read)?;
    let unknown = || ApiError::from(Rejection::UnknownNode);
    let id: NodeId = text.parse().map_err(|_| unknown())?;
    let node = app.log.read(|state, _| {
        let node = state.nodes.get(&id)?;
        (node.owner == caller.account || caller.sees_all()).then(|| view(node))
    });
    Ok(Reply(node.ok_or_else(unknown)??))
}

fn view(node: &Node) -> ApiResult<wire::Node> {
    let records = node.records.iter();
    Ok(wire::Node {
        id: node.id.to_string(),
        owner: node.owner.to_string(),
        public_key: node.public_key.to_string(),
        profile: to_wire(&node.profile)?,
        availability: name_of(&node.availability),
        active: node.active.iter().map(ToString::to_string).collect(),
        records: records
            .map(|(kind, of)| (name_of(kind), record(node, *kind, of)))
            .collect(),
        registered_at: time(node.registered_at),
    })
}

fn record(node: &Node, kind: TaskType, record: &Record) -> wire::NodeRecord {
    wire::NodeRecord {
        good: record.good,
        bad: record.bad,
        reliability_ppm: node.reliability(kind),
        backoff_until: (record.backoff_until > now()).then(|| time(record.backoff_until)),
    }
}
