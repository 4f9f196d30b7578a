//! What the server says of itself; open to everybody.

use aevir_events::Status;
use aevir_wire as wire;
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::{ApiError, ApiResult, Code},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(version))
}

/// Whether the process answers, and how the log is published.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = wire::Health)))]
async fn health(State(app): State<App>) -> Json<wire::Health> {
    let publishing = app.published.publishing().state;
    let is_ok = publishing == "publishing" || app.stopping.is_cancelled();
    Json(wire::Health {
        status: if is_ok { "ok" } else { "degraded" }.into(),
        publishing,
    })
}

/// Whether the server can write to its log; 503 while it can't.
#[utoipa::path(get, path = "/ready", tag = "server", responses((status = 200, body = wire::Readiness)))]
async fn ready(State(app): State<App>) -> ApiResult<Json<wire::Readiness>> {
    let log = match app.log.status() {
        Status::Leading => "leading",
        Status::Recovering => "recovering",
        Status::Deposed => "deposed",
        Status::Stopped => "stopped",
        Status::Failed(_) => "failed",
    };
    if log != "leading" || app.stopping.is_cancelled() {
        let detail = format!("the server can't write to its log now: its writer is `{log}`");
        return Err(ApiError::new(Code::NotReady, detail));
    }
    Ok(Json(wire::Readiness {
        ready: true,
        log: log.into(),
        size: app.log.head().size.to_string(),
    }))
}

/// The versions of server and API.
#[utoipa::path(get, path = "/v1/version", tag = "server", responses((status = 200, body = wire::Version)))]
async fn version() -> Json<wire::Version> {
    Json(wire::Version {
        version: env!("CARGO_PKG_VERSION").into(),
        api: wire::API_VERSION.into(),
    })
}
