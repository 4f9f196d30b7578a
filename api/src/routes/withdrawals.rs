//! Money leaves the platform: accounts ask, and administrators pay or refuse.

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, Scope},
    ids::{AccountId, WithdrawalId},
    rejection::Rejection,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{accounts::no_account, tasks::whose};
use crate::{
    app::App,
    auth::Caller,
    convert::{parse, time},
    error::{ApiError, ApiResult},
    extract::{IdempotencyKey, Json, Path, Query},
    listing::{Shown, cursor, invalid, limit, next, open},
    submit::{count, event, submit},
    views::{self, ACCOUNTS, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(request_withdrawal))
        .routes(routes!(list_withdrawals))
        .routes(routes!(pay_withdrawal))
        .routes(routes!(refuse_withdrawal))
}

/// Sets money of the caller's account aside, to be paid out.
#[utoipa::path(post, path = "/v1/account/withdrawals", tag = "accounts", request_body = wire::RequestWithdrawal,
    responses((status = 201, body = wire::Withdrawal)))]
async fn request_withdrawal(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::RequestWithdrawal>,
) -> ApiResult<(StatusCode, Reply<wire::Withdrawal>)> {
    caller.require(Scope::KeysWrite)?;
    let command = Command::RequestWithdrawal {
        account: caller.account,
        amount: parse("/amount", &request.amount)?,
        destination: request.destination,
    };
    count(&app, &caller, key.as_deref()).await?;
    let receipt = submit(&app, caller.actor(), key, command).await?;
    let requested = event!(&receipt, WithdrawalRequested)?;
    let requested_at = receipt.events.first().map(|e| time(e.time));
    let withdrawal = wire::Withdrawal {
        id: requested.withdrawal.to_string(),
        account: requested.account.to_string(),
        amount: requested.amount.to_string(),
        destination: requested.destination.clone(),
        state: "open".into(),
        reference: None,
        reason: None,
        requested_at: requested_at.unwrap_or_default(),
        ended_at: None,
    };
    Ok((StatusCode::CREATED, Reply(withdrawal)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WithdrawalFilter {
    /// Scope `audit` or `admin` for another account than one's own.
    account: Option<String>,
    /// `open`, `paid` or `refused`.
    state: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Withdrawals, oldest first: the caller's own; all of them for the scopes `audit` and `admin`.
#[utoipa::path(get, path = "/v1/withdrawals", tag = "accounts", params(WithdrawalFilter),
    responses((status = 200, body = wire::WithdrawalPage)))]
async fn list_withdrawals(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<WithdrawalFilter>,
) -> ApiResult<Shown<wire::WithdrawalPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let after = cursor::<WithdrawalId>(filter.after.as_deref())?;
    let what = "`account` is an account's id";
    let account = whose(filter.account.as_deref(), caller.sees_all(), &caller, what)?;
    let state = filter.state.as_deref();
    if !state.is_none_or(|state| ["open", "paid", "refused"].contains(&state)) {
        return Err(invalid("`state` is `open`, `paid` or `refused`"));
    }
    // The posting of a payout stands just after the event that says so.
    let mut query = views::Query::new(
        "SELECT w.id, w.account, w.amount, w.destination, w.state, e.reference, w.reason, w.requested_at, w.ended_at
         FROM {withdrawals} w
         LEFT JOIN {ledger_entries} e ON e.position = w.position + 1 AND e.line = 0",
    );
    query.when_some("w.account = ?", account.map(|a| a.to_string()));
    query.when_some("w.state = ?", state);
    query.when_some("w.id > ?", after.map(|id| id.to_string()));
    query.page("w.id", limit);
    let mut view = open(&app, ACCOUNTS, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| withdrawal(Cells::new(row)));
    let mut withdrawals = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut withdrawals, limit, |w| w.id.clone());
    Ok(Shown::new(
        view.position(),
        wire::WithdrawalPage { withdrawals, next },
    ))
}

fn withdrawal(mut cells: Cells) -> ApiResult<wire::Withdrawal> {
    Ok(wire::Withdrawal {
        id: cells.text()?,
        account: cells.text()?,
        amount: cells.int()?.to_string(),
        destination: cells.text()?,
        state: cells.text()?,
        reference: cells.text_or_null()?,
        reason: cells.text_or_null()?,
        requested_at: time(Timestamp(cells.int()?)),
        ended_at: cells.int_or_null()?.map(|at| time(Timestamp(at))),
    })
}

/// Books that a withdrawal was paid out.
#[utoipa::path(post, path = "/v1/accounts/{id}/withdrawals/{withdrawal}/payment", tag = "accounts",
    params(("id" = String, Path), ("withdrawal" = String, Path)), request_body = wire::PayWithdrawal,
    responses((status = 204)))]
async fn pay_withdrawal(
    State(app): State<App>,
    caller: Caller,
    Path((account, withdrawal)): Path<(String, String)>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::PayWithdrawal>,
) -> ApiResult<StatusCode> {
    caller.require(Scope::Admin)?;
    let (account, withdrawal) = named(&account, &withdrawal)?;
    let command = Command::PayWithdrawal {
        account,
        withdrawal,
        reference: request.reference,
    };
    submit(&app, caller.actor(), key, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a withdrawal's money back to its account.
#[utoipa::path(post, path = "/v1/accounts/{id}/withdrawals/{withdrawal}/refusal", tag = "accounts",
    params(("id" = String, Path), ("withdrawal" = String, Path)), request_body = wire::RefuseWithdrawal,
    responses((status = 204)))]
async fn refuse_withdrawal(
    State(app): State<App>,
    caller: Caller,
    Path((account, withdrawal)): Path<(String, String)>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::RefuseWithdrawal>,
) -> ApiResult<StatusCode> {
    caller.require(Scope::Admin)?;
    let (account, withdrawal) = named(&account, &withdrawal)?;
    let command = Command::RefuseWithdrawal {
        account,
        withdrawal,
        reason: request.reason,
    };
    submit(&app, caller.actor(), key, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ids that can't be parsed are of what does not exist.
fn named(account: &str, withdrawal: &str) -> ApiResult<(AccountId, WithdrawalId)> {
    let account = account.parse().map_err(|_| no_account(account))?;
    let withdrawal = withdrawal.parse().map_err(|_| {
        let unknown = Rejection::UnknownWithdrawal {
            withdrawal: WithdrawalId(Default::default()),
        };
        let detail = format!("this account has no open withdrawal {withdrawal}");
        ApiError::from(unknown).with_detail(detail)
    })?;
    Ok((account, withdrawal))
}
