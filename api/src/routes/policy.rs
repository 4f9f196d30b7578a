//! The market's constants.

use aevir_platform::{
    command::{Command, Scope},
    policy::Policy,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{into_domain, to_wire},
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Json},
    submit::submit,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(policy_in_force, adopt_policy))
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses((status = 200, body = wire::AdoptedPolicy)))]
async fn policy_in_force(
    State(app): State<App>,
    _: Caller,
) -> ApiResult<Reply<wire::AdoptedPolicy>> {
    let adopted = app.log.read(|state, _| {
        let (version, policy) = state.policy()?;
        Some((version, policy.clone()))
    });
    let (version, policy) = adopted.ok_or_else(|| {
        ApiError::new(
            Code::NotReady,
            "no policy was adopted yet: set the platform up first",
        )
    })?;
    let policy = to_wire(policy.as_ref())?;
    Ok(Reply(wire::AdoptedPolicy { version, policy }))
}

/// Adopts a new version, which holds for tasks created from then on.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = wire::Policy,
    responses((status = 200, body = wire::AdoptedPolicy)))]
async fn adopt_policy(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::Policy>,
) -> ApiResult<Reply<wire::AdoptedPolicy>> {
    caller.require(Scope::Admin)?;
    let policy: Policy = into_domain("", &request)?;
    submit(&app, caller.actor(), key, Command::AdoptPolicy(policy)).await?;
    policy_in_force(State(app), caller).await
}
