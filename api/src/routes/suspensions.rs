//! Administrators suspend and release accounts, nodes, contents and modules.

use aevir_platform::{
    command::{Command, Scope, Subject},
    state::{State as Platform, Suspension},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{parse, time},
    error::ApiResult,
    extract::{IdempotencyKey, Json},
    submit::submit,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(suspend, list_suspensions))
        .routes(routes!(release))
}

/// Stops what is new of an account, a node, a content or a module; what has begun goes on.
#[utoipa::path(post, path = "/v1/suspensions", tag = "administration", request_body = wire::Suspend,
    responses((status = 204)))]
async fn suspend(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::Suspend>,
) -> ApiResult<StatusCode> {
    caller.require(Scope::Admin)?;
    let command = Command::Suspend {
        subject: subject(&request.subject)?,
        reason: request.reason,
    };
    submit(&app, caller.actor(), key, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Releases what is suspended.
#[utoipa::path(post, path = "/v1/releases", tag = "administration", request_body = wire::Suspend,
    responses((status = 204)))]
async fn release(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::Suspend>,
) -> ApiResult<StatusCode> {
    caller.require(Scope::Admin)?;
    let command = Command::Release {
        subject: subject(&request.subject)?,
        reason: request.reason,
    };
    submit(&app, caller.actor(), key, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The suspensions in force.
#[utoipa::path(get, path = "/v1/suspensions", tag = "administration",
    responses((status = 200, body = wire::SuspensionList)))]
async fn list_suspensions(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Reply<wire::SuspensionList>> {
    caller.require_one_of(&[Scope::Admin, Scope::Audit])?;
    let suspensions = app.log.read(|state, _| in_force(state));
    Ok(Reply(wire::SuspensionList { suspensions }))
}

fn subject(subject: &wire::Subject) -> ApiResult<Subject> {
    Ok(match subject {
        wire::Subject::Account(id) => Subject::Account(parse("/subject/account", id)?),
        wire::Subject::Node(id) => Subject::Node(parse("/subject/node", id)?),
        wire::Subject::Content(id) => Subject::Content(parse("/subject/content", id)?),
        wire::Subject::Module(digest) => Subject::Module(parse("/subject/module", digest)?),
    })
}

fn in_force(state: &Platform) -> Vec<wire::Suspended> {
    let accounts = state.accounts.iter().filter_map(|(id, a)| {
        let subject = wire::Subject::Account(id.to_string());
        Some(suspended(subject, &a.name, a.suspended.as_ref()?))
    });
    let nodes = state.nodes.values().filter_map(|n| {
        let subject = wire::Subject::Node(n.id.to_string());
        Some(suspended(subject, &n.profile.name, n.suspended.as_ref()?))
    });
    let contents = state.contents.iter().filter_map(|(id, c)| {
        let subject = wire::Subject::Content(id.to_string());
        Some(suspended(subject, &c.name, c.suspended.as_ref()?))
    });
    let modules = state.modules.iter().filter_map(|(digest, m)| {
        let subject = wire::Subject::Module(digest.to_string());
        let name = m.names.values().next().map_or("", String::as_str);
        Some(suspended(subject, name, m.suspended.as_ref()?))
    });
    accounts
        .chain(nodes)
        .chain(contents)
        .chain(modules)
        .collect()
}

fn suspended(subject: wire::Subject, name: &str, suspension: &Suspension) -> wire::Suspended {
    wire::Suspended {
        subject,
        name: name.to_owned(),
        reason: suspension.reason.clone(),
        since: time(suspension.since),
    }
}
