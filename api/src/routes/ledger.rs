//! Balances and postings, from the view `accounts`.

use aevir_events::Timestamp;
use aevir_platform::{command::Scope, ids::TaskId, ledger::LedgerAccount};
use aevir_wire as wire;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::time,
    error::ApiResult,
    extract::Query,
    listing::{Page, Shown, invalid, limit, next, no_cursor, open},
    views::{self, ACCOUNTS, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ledger))
        .routes(routes!(ledger_entries))
}

/// Balances that are not zero, by account, and the sum over all of them, which is.
#[utoipa::path(get, path = "/v1/ledger", tag = "ledger", params(Page), responses((status = 200, body = wire::Ledger)))]
async fn ledger(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Shown<wire::Ledger>> {
    caller.require_one_of(&[Scope::Audit, Scope::Admin])?;
    let limit = limit(page.limit)?;
    let mut query = views::Query::new("SELECT account, amount FROM {balances}");
    query.only("open = 1");
    query.when_some("account > ?", page.after.as_deref());
    query.page("account", limit);
    let mut view = open(&app, ACCOUNTS, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| {
        let mut cells = Cells::new(row);
        Ok((cells.text()?, cells.int()?.to_string()))
    });
    let mut balances = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut balances, limit, |(account, _)| account.clone());
    let sum = view
        .select(
            "SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM {balances} WHERE open = 1",
            &[],
        )
        .await?;
    let sum = Cells::new(sum.into_iter().next().unwrap_or_default()).int()?;
    let ledger = wire::Ledger {
        balances: balances.into_iter().collect(),
        sum: sum.to_string(),
        size: view.position().to_string(),
        next,
    };
    Ok(Shown::new(view.position(), ledger))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EntryFilter {
    /// A ledger account, such as `treasury`, `account/<id>/available` or `task/<id>/escrow`.
    account: Option<String>,
    task: Option<String>,
    /// `deposit`, `escrow`, `settlement`, `maturity`, `closure`, `withdrawal`, `payout`, `withdrawal-refused`, `stake`, `unstake`, `slash`, `pool`, `reward` or `pool-expired`.
    reason: Option<String>,
    /// From this position of the log on.
    from: Option<u64>,
    /// Before this position.
    to: Option<u64>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Postings, oldest first: those of the caller's own money; all of them for the scopes `audit` and `admin`.
#[utoipa::path(get, path = "/v1/ledger/entries", tag = "ledger", params(EntryFilter),
    responses((status = 200, body = wire::LedgerEntryPage)))]
async fn ledger_entries(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<EntryFilter>,
) -> ApiResult<Shown<wire::LedgerEntryPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let account = filter
        .account
        .as_deref()
        .map(str::parse::<LedgerAccount>)
        .transpose();
    let account = account.map_err(|e| invalid(&format!("`account`: {e}")))?;
    let after = filter.after.as_deref().map(entry_cursor).transpose()?;
    let mut query = views::Query::new(
        "SELECT position, line, posted_at, account, amount, reason, task, reference FROM {ledger_entries}",
    );
    if !caller.sees_all() {
        query.when("owner = ?", [caller.account.to_string().into()]);
    }
    query.when_some("account = ?", account.map(|a| a.to_string()));
    query.when_some(
        "task = ?",
        task(filter.task.as_deref())?.map(|t| t.to_string()),
    );
    query.when_some("reason = ?", filter.reason.as_deref());
    query.when_some("position >= ?", filter.from.map(at));
    query.when_some("position < ?", filter.to.map(at));
    if let Some((position, line)) = after {
        query.when("(position, line) > (?, ?)", [position.into(), line.into()]);
    }
    query.page("position, line", limit);
    let mut view = open(&app, ACCOUNTS, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| entry(Cells::new(row)));
    let mut entries = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut entries, limit, |e| {
        format!("{}.{}", e.position, e.line)
    });
    Ok(Shown::new(
        view.position(),
        wire::LedgerEntryPage { entries, next },
    ))
}

fn entry(mut cells: Cells) -> ApiResult<wire::LedgerEntry> {
    Ok(wire::LedgerEntry {
        position: cells.int()?.to_string(),
        line: cells.count()?,
        time: time(Timestamp(cells.int()?)),
        account: cells.text()?,
        amount: cells.int()?.to_string(),
        reason: cells.text()?,
        task: cells.text_or_null()?,
        reference: cells.text_or_null()?,
    })
}

fn entry_cursor(text: &str) -> ApiResult<(i64, u32)> {
    let parts = text.split_once('.');
    let parsed =
        parts.and_then(|(position, line)| Some((position.parse().ok()?, line.parse().ok()?)));
    parsed.ok_or_else(no_cursor)
}

pub(super) fn task(text: Option<&str>) -> ApiResult<Option<TaskId>> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| invalid("`task` is a task's id"))
}

/// A position beyond every position that there can be, where it does not fit.
fn at(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
