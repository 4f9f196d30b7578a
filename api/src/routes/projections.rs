//! The views' projections, for operators.

use aevir_events::projection::ProjectionStatus;
use aevir_platform::command::Scope;
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, auth::Caller, error::ApiResult, extract::Path};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_projections))
        .routes(routes!(rebuild_projection))
}

/// Every generation of every projection, and how far it is.
#[utoipa::path(get, path = "/v1/projections", tag = "projections",
    responses((status = 200, body = wire::ProjectionList)))]
async fn list_projections(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Reply<wire::ProjectionList>> {
    caller.require(Scope::Admin)?;
    let statuses = app.views.statuses().await?;
    let projections = statuses.into_iter().map(view).collect();
    Ok(Reply(wire::ProjectionList { projections }))
}

/// Folds a projection anew beside what is served, and swaps when it is level. One that is on its way is answered.
#[utoipa::path(post, path = "/v1/projections/{name}/rebuild", tag = "projections",
    params(("name" = String, Path)), responses((status = 202, body = wire::Rebuild)))]
async fn rebuild_projection(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<(StatusCode, Reply<wire::Rebuild>)> {
    caller.require(Scope::Admin)?;
    let generation = app.views.rebuild(&name).await?.to_string();
    Ok((
        StatusCode::ACCEPTED,
        Reply(wire::Rebuild { name, generation }),
    ))
}

fn view(status: ProjectionStatus) -> wire::Projection {
    let lag = status.size.saturating_sub(status.position);
    let (failed_at, error) = match status.failed {
        Some((position, why)) => (Some(position.to_string()), Some(why)),
        None => (None, status.trouble),
    };
    wire::Projection {
        name: status.name.into(),
        generation: status.generation.to_string(),
        version: status.version,
        state: status.state.name().into(),
        position: status.position.to_string(),
        size: status.size.to_string(),
        lag: lag.to_string(),
        failed_at,
        error,
    }
}
