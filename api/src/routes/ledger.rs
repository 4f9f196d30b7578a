//! Balances and points.

use std::cmp::Reverse;

use aevir_platform::{command::Scope, ids::AccountId, state::State as Platform};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::accounts::points;
use crate::{app::App, auth::Caller, error::ApiResult};

/// Rows of the leaderboard.
const ROWS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ledger))
        .routes(routes!(leaderboard))
}

/// Every balance that is not zero, and their sum, which is.
#[utoipa::path(get, path = "/v1/ledger", tag = "ledger", responses((status = 200, body = wire::Ledger)))]
async fn ledger(State(app): State<App>, caller: Caller) -> ApiResult<Reply<wire::Ledger>> {
    caller.require_one_of(&[Scope::Audit, Scope::Admin])?;
    let ledger = app.log.read(|state, size| wire::Ledger {
        balances: state
            .ledger
            .balances()
            .map(|(account, amount)| (account.to_string(), amount.to_string()))
            .collect(),
        sum: state.ledger.sum().to_string(),
        size: size.to_string(),
    });
    Ok(Reply(ledger))
}

/// IntelliPoints, most first: of all accounts for the scopes `audit` and `admin`, else the caller's own.
#[utoipa::path(get, path = "/v1/points", tag = "ledger", responses((status = 200, body = wire::PointsTable)))]
async fn leaderboard(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Reply<wire::PointsTable>> {
    let accounts = app.log.read(|state, _| {
        if !caller.sees_all() {
            return row(state, caller.account)
                .map(|(_, row)| row)
                .into_iter()
                .collect();
        }
        let mut rows: Vec<_> = state
            .points
            .keys()
            .filter_map(|id| row(state, *id))
            .collect();
        rows.sort_by_key(|(total, _)| Reverse(*total));
        rows.into_iter()
            .take(ROWS_MAX)
            .map(|(_, row)| row)
            .collect()
    });
    Ok(Reply(wire::PointsTable { accounts }))
}

fn row(state: &Platform, id: AccountId) -> Option<(i64, wire::AccountPoints)> {
    let account = state.accounts.get(&id)?;
    let balance = state.points.get(&id).copied().unwrap_or_default();
    let tracks = [balance.compute, balance.content, balance.verification];
    let total = tracks.iter().fold(0i64, |sum, p| sum.saturating_add(p.0));
    let row = wire::AccountPoints {
        account: id.to_string(),
        name: account.name.clone(),
        points: points(&balance),
        total: total.to_string(),
    };
    Some((total, row))
}
