//! Statements: what moved on the accounts of one owner in a period, from the view `accounts`.

use aevir_events::{
    Timestamp,
    projection::{Snapshot, Value},
};
use aevir_platform::{command::Scope, ids::AccountId, ledger::LedgerAccount};
use aevir_wire as wire;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::tasks::whose;
use crate::{
    app::{App, now},
    auth::Caller,
    convert::time,
    error::ApiResult,
    extract::Query,
    listing::{Shown, instant, invalid, limit, next, no_cursor, open},
    views::{self, ACCOUNTS, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(statement))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Period {
    /// Scope `audit` or `admin` for another account than one's own.
    account: Option<String>,
    /// RFC 3339; from the account's beginning when absent.
    from: Option<String>,
    /// RFC 3339; what moved at this time or later is left out. Until now when absent: give the answer's `to` for further pages.
    to: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Opening and closing balances of the caller's accounts, and every posting between them, oldest first.
#[utoipa::path(get, path = "/v1/account/statement", tag = "ledger", params(Period),
    responses((status = 200, body = wire::Statement)))]
async fn statement(
    State(app): State<App>,
    caller: Caller,
    Query(period): Query<Period>,
) -> ApiResult<Shown<wire::Statement>> {
    caller.require(Scope::Read)?;
    let limit = limit(period.limit)?;
    let what = "`account` is an account's id";
    let account = whose(period.account.as_deref(), false, &caller, what)?;
    let account = account.unwrap_or(caller.account);
    let from = instant(
        period.from.as_deref(),
        "`from` is a time such as 2026-01-31T00:00:00Z",
    )?;
    let to = instant(
        period.to.as_deref(),
        "`to` is a time such as 2026-02-28T00:00:00Z",
    )?;
    // A page shows what had been posted when it was asked for: the present ms may bring more.
    let to = to.unwrap_or_else(now);
    if from.is_some_and(|from| from > to) {
        return Err(invalid("`from` is not after `to`"));
    }
    let after = period.after.as_deref().map(entry_cursor).transpose()?;
    let mut view = open(&app, ACCOUNTS, period.min_position).await?;
    let balances = balances(&mut view, account, from, to).await?;
    let mut query = views::Query::new(
        "SELECT position, line, posted_at, account, amount, balance, reason, task, reference, counter_accounts
         FROM {ledger_entries}",
    );
    query.when("owner = ?", [account.to_string().into()]);
    query.when_some("posted_at >= ?", from.map(|from| from.0));
    query.when("posted_at < ?", [to.0.into()]);
    if let Some((posted_at, position, line)) = after {
        query.when(
            "(posted_at, position, line) > (?, ?, ?)",
            [posted_at.into(), position.into(), line.into()],
        );
    }
    query.page("posted_at, position, line", limit);
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| entry(Cells::new(row)));
    let mut entries = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut entries, limit, |(posted_at, e)| {
        format!("{posted_at}.{}.{}", e.position, e.line)
    });
    let statement = wire::Statement {
        account: account.to_string(),
        from: from.map(time),
        to: time(to),
        balances,
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        next,
    };
    Ok(Shown::new(view.position(), statement))
}

/// Each of the owner's ledger accounts just before a period and just before its end: the balance after the last posting until
/// then.
async fn balances(
    view: &mut Snapshot,
    account: AccountId,
    from: Option<Timestamp>,
    to: Timestamp,
) -> ApiResult<Vec<wire::StatementBalance>> {
    const BALANCES: &str = "SELECT b.account,
            COALESCE((SELECT e.balance FROM {ledger_entries} e WHERE e.account = b.account AND e.posted_at < $1
                ORDER BY e.posted_at DESC, e.position DESC, e.line DESC LIMIT 1), 0),
            COALESCE((SELECT e.balance FROM {ledger_entries} e WHERE e.account = b.account AND e.posted_at < $2
                ORDER BY e.posted_at DESC, e.position DESC, e.line DESC LIMIT 1), 0)
         FROM {balances} b
         WHERE b.account IN ($3, $4, $5)
            OR b.account IN (SELECT 'node/' || n.node || '/stake' FROM {node_owners} n WHERE n.owner = $6)
         ORDER BY b.account";
    let own = [
        LedgerAccount::Available(account),
        LedgerAccount::Pending(account),
        LedgerAccount::Withdrawing(account),
    ];
    let mut params: Vec<Value> = vec![from.map_or(i64::MIN, |from| from.0).into(), to.0.into()];
    params.extend(own.map(|account| Value::from(account.to_string())));
    params.push(account.to_string().into());
    let rows = view.select(BALANCES, &params).await?;
    let rows = rows.into_iter().map(|row| {
        let mut cells = Cells::new(row);
        Ok(wire::StatementBalance {
            account: cells.text()?,
            opening: cells.int()?.to_string(),
            closing: cells.int()?.to_string(),
        })
    });
    rows.collect()
}

fn entry(mut cells: Cells) -> ApiResult<(i64, wire::StatementEntry)> {
    let (position, line) = (cells.int()?.to_string(), cells.count()?);
    let posted_at = cells.int()?;
    let entry = wire::StatementEntry {
        position,
        line,
        time: time(Timestamp(posted_at)),
        account: cells.text()?,
        amount: cells.int()?.to_string(),
        balance: cells.int()?.to_string(),
        reason: cells.text()?,
        task: cells.text_or_null()?,
        reference: cells.text_or_null()?,
        counter_accounts: cells.json()?,
    };
    Ok((posted_at, entry))
}

/// Time, position and line of the last page's last entry.
fn entry_cursor(text: &str) -> ApiResult<(i64, i64, u32)> {
    let mut parts = text.splitn(3, '.');
    let parsed = (|| {
        let (at, position, line) = (parts.next()?, parts.next()?, parts.next()?);
        Some((at.parse().ok()?, position.parse().ok()?, line.parse().ok()?))
    })();
    parsed.ok_or_else(no_cursor)
}
