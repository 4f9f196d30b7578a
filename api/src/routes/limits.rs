//! An account's share of the nodes, and its quotas.

use aevir_platform::{
    command::{Command, Scope},
    ids::AccountId,
    policy::AccountLimits,
    rejection::Rejection,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{into_domain, to_wire},
    error::{ApiError, ApiResult},
    extract::{IdempotencyKey, Json, Path},
    submit::submit,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(account_limits, set_limits))
}

/// What an account may have at once, and its share: its own where an administrator gave it some, else the policy's. Another
/// account's: scope `admin` or `audit`.
#[utoipa::path(get, path = "/v1/accounts/{id}/limits", tag = "accounts", params(("id" = String, Path)),
    responses((status = 200, body = wire::AccountLimits)))]
async fn account_limits(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::AccountLimits>> {
    let account = account(&id)?;
    if account != caller.account {
        caller.require_one_of(&[Scope::Admin, Scope::Audit])?;
    }
    let limits = app.log.read(|state, _| {
        let known = state.accounts.contains_key(&account);
        known.then(|| state.limits_of(account))
    });
    let limits = limits.ok_or(Rejection::UnknownAccount { account })?;
    Ok(Reply(to_wire(&limits)?))
}

/// Gives an account another share and other quotas than the policy's.
#[utoipa::path(put, path = "/v1/accounts/{id}/limits", tag = "accounts", params(("id" = String, Path)),
    request_body = wire::AccountLimits, responses((status = 200, body = wire::AccountLimits)))]
async fn set_limits(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::AccountLimits>,
) -> ApiResult<Reply<wire::AccountLimits>> {
    caller.require(Scope::Admin)?;
    let account = account(&id)?;
    let limits: AccountLimits = into_domain("", &request)?;
    let command = Command::SetLimits { account, limits };
    submit(&app, caller.actor(), key, command).await?;
    Ok(Reply(request))
}

/// An id that can't be parsed is one that does not exist.
fn account(id: &str) -> ApiResult<AccountId> {
    id.parse().map_err(|_| {
        let account = AccountId(Default::default());
        let unknown = ApiError::from(Rejection::UnknownAccount { account });
        unknown.with_detail(format!("there is no account {id}"))
    })
}
