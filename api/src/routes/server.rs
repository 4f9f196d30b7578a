//! What the server says of itself; open to everybody.

use std::{collections::BTreeMap, time::Duration};

use aevir_events::{Status, projection::GenerationState};
use aevir_wire as wire;
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::{ApiError, ApiResult, Code},
};

/// How long the health check waits for the views' database: a prober's patience is short.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(version))
}

/// Whether the process answers, how the log is published, and whether lists follow it.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = wire::Health)))]
async fn health(State(app): State<App>) -> Json<wire::Health> {
    let publishing = app.published.publishing().state;
    let is_published = publishing == "publishing" || app.stopping.is_cancelled();
    let names = app.views.names().map(|name| (name.to_owned(), "unknown"));
    let mut projections: BTreeMap<String, &str> = names.collect();
    let statuses = tokio::time::timeout(HEALTH_PATIENCE, app.views.statuses()).await;
    if let Ok(Ok(statuses)) = statuses {
        // The database answers: what has no tables yet is about to get them, as at the first start.
        for state in projections.values_mut() {
            *state = "building";
        }
        for status in statuses {
            let known = projections
                .entry(status.name.to_owned())
                .or_insert("building");
            *known = match (status.state, status.failed) {
                (GenerationState::Live | GenerationState::Building, Some(_)) => "failed",
                (GenerationState::Live, None) if *known != "failed" => "live",
                (GenerationState::Live | GenerationState::Building, None) => known,
                (GenerationState::Retired, _) => known,
            };
        }
    }
    let well = projections
        .values()
        .all(|state| matches!(*state, "live" | "building"));
    let projections = projections
        .into_iter()
        .map(|(name, state)| (name, state.to_owned()));
    Json(wire::Health {
        status: if well && is_published {
            "ok"
        } else {
            "degraded"
        }
        .into(),
        publishing,
        projections: projections.collect(),
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
