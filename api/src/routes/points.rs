//! IntelliPoints, from the view `accounts`: who has how many, why, and what they are rewarded with.

use aevir_events::{
    Timestamp,
    projection::{Snapshot, Value},
};
use aevir_platform::{
    command::{Command, Scope},
    event::RewardPart,
    ids::AccountId,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ledger::task, tasks::whose};
use crate::{
    app::App,
    auth::Caller,
    convert::time,
    error::ApiResult,
    extract::{IdempotencyKey, Query},
    listing::{Page, Shown, cursor, invalid, limit, next, no_cursor, open},
    submit::{event, submit},
    views::{self, ACCOUNTS, Cells},
};

/// Thousandths in a point.
const POINT: i64 = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(leaderboard))
        .routes(routes!(points_changes))
        .routes(routes!(explain_points))
        .routes(routes!(epochs))
        .routes(routes!(open_rewards, claim_rewards))
}

/// The parts of a query for standings in the order of one column.
struct OrderedBy {
    /// Read from the end of the index on the column and the account, as far as the page goes.
    all: &'static str,
    own: &'static str,
    after: &'static str,
    order: &'static str,
}

macro_rules! ordered_by {
    ($column:literal) => {
        OrderedBy {
            all: concat!(
                "SELECT a.id, a.name, p.compute, p.content, p.verification, p.total, p.",
                $column,
                " FROM {points} p JOIN {accounts} a ON a.id = p.account"
            ),
            own: concat!(
                "SELECT a.id, a.name, COALESCE(p.compute, 0), COALESCE(p.content, 0), COALESCE(p.verification, 0), \
                 COALESCE(p.total, 0), COALESCE(p.",
                $column,
                ", 0) FROM {accounts} a LEFT JOIN {points} p ON p.account = a.id"
            ),
            after: concat!("(p.", $column, ", p.account) < (?, ?)"),
            order: concat!("p.", $column, " DESC, p.account DESC"),
        }
    };
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Standings {
    /// `compute`, `content` or `verification`; over all of them when absent.
    track: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// IntelliPoints, most first, and of the same number the newest account first: of all accounts for the scopes `audit` and `admin`,
/// else the caller's own.
#[utoipa::path(get, path = "/v1/points", tag = "points", params(Standings), responses((status = 200, body = wire::PointsTable)))]
async fn leaderboard(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Standings>,
) -> ApiResult<Shown<wire::PointsTable>> {
    caller.require(Scope::Read)?;
    let limit = limit(page.limit)?;
    let by = match page.track.as_deref() {
        None => ordered_by!("total"),
        Some("compute") => ordered_by!("compute"),
        Some("content") => ordered_by!("content"),
        Some("verification") => ordered_by!("verification"),
        Some(_) => {
            return Err(invalid("`track` is `compute`, `content` or `verification`"));
        }
    };
    let after = page.after.as_deref().map(points_cursor).transpose()?;
    // Only accounts that ever had points have a row; one's own is shown all the same.
    let mut query = if caller.sees_all() {
        views::Query::new(by.all)
    } else {
        let mut own = views::Query::new(by.own);
        own.when("a.id = ?", [caller.account.to_string().into()]);
        own
    };
    if let Some((points, account)) = after {
        let after = [Value::Int(points), account.into()];
        query.when(by.after, after);
    }
    query.page(by.order, limit);
    let mut view = open(&app, ACCOUNTS, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| standing(Cells::new(row)));
    let mut accounts = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut accounts, limit, |(by, a)| {
        format!("{by}.{}", a.account)
    });
    let accounts = accounts.into_iter().map(|(_, account)| account).collect();
    Ok(Shown::new(
        view.position(),
        wire::PointsTable { accounts, next },
    ))
}

/// With what it is ordered by.
fn standing(mut cells: Cells) -> ApiResult<(i64, wire::AccountPoints)> {
    let account = wire::AccountPoints {
        account: cells.text()?,
        name: cells.text()?,
        points: points(&mut cells)?,
        total: whole(cells.int()?),
    };
    Ok((cells.int()?, account))
}

/// Compute, content, verification.
pub(super) fn points(cells: &mut Cells) -> ApiResult<wire::Points> {
    Ok(wire::Points {
        compute: whole(cells.int()?),
        content: whole(cells.int()?),
        verification: whole(cells.int()?),
    })
}

/// Whole points.
fn whole(thousandths: i64) -> String {
    (thousandths / POINT).to_string()
}

/// Points with three decimals.
fn exact(thousandths: i64) -> String {
    format!("{}.{:03}", thousandths / POINT, thousandths % POINT)
}

fn points_cursor(text: &str) -> ApiResult<(i64, String)> {
    let parts = text.split_once('.');
    let parsed =
        parts.and_then(|(points, account)| Some((points.parse().ok()?, account.to_owned())));
    parsed.ok_or_else(no_cursor)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeFilter {
    /// Scope `audit` or `admin` for another account than one's own.
    account: Option<String>,
    task: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Changes of IntelliPoints, oldest first: the caller's own; those of all accounts for the scopes `audit` and `admin`.
#[utoipa::path(get, path = "/v1/points/changes", tag = "points", params(ChangeFilter),
    responses((status = 200, body = wire::PointsChangePage)))]
async fn points_changes(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<ChangeFilter>,
) -> ApiResult<Shown<wire::PointsChangePage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let after = cursor::<i64>(filter.after.as_deref())?;
    let account = whose(
        filter.account.as_deref(),
        caller.sees_all(),
        &caller,
        "`account` is an account's id",
    )?;
    let mut query = views::Query::new(CHANGES);
    query.when_some("account = ?", account.map(|a| a.to_string()));
    query.when_some(
        "task = ?",
        task(filter.task.as_deref())?.map(|t| t.to_string()),
    );
    query.when_some("position > ?", after);
    query.page("position", limit);
    let mut view = open(&app, ACCOUNTS, filter.min_position).await?;
    let (changes, next) = changes(&mut view, &query, limit).await?;
    Ok(Shown::new(
        view.position(),
        wire::PointsChangePage { changes, next },
    ))
}

const CHANGES: &str = "SELECT position, changed_at, account, track, epochs, faded, delta, reason, task, assignment, balance FROM {point_changes}";

async fn changes(
    view: &mut Snapshot,
    query: &views::Query,
    limit: usize,
) -> ApiResult<(Vec<wire::PointsChange>, Option<String>)> {
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| change(Cells::new(row)));
    let mut changes = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut changes, limit, |c| c.position.clone());
    Ok((changes, next))
}

fn change(mut cells: Cells) -> ApiResult<wire::PointsChange> {
    Ok(wire::PointsChange {
        position: cells.int()?.to_string(),
        time: time(Timestamp(cells.int()?)),
        account: cells.text()?,
        track: cells.text()?,
        epochs: cells.count()?,
        faded: exact(cells.int()?),
        delta: cells.int()?.to_string(),
        reason: cells.text()?,
        task: cells.text()?,
        assignment: cells.text_or_null()?,
        after: exact(cells.int()?),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Scope `audit` or `admin` for another account than one's own.
    account: Option<String>,
    /// 1 to 200 changes; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Why an account has the points that it has: every change, what epochs took off between them, and what they came to since.
#[utoipa::path(get, path = "/v1/points/explanation", tag = "points", params(Whose),
    responses((status = 200, body = wire::PointsExplanation)))]
async fn explain_points(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Whose>,
) -> ApiResult<Shown<wire::PointsExplanation>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let after = cursor::<i64>(filter.after.as_deref())?;
    let what = "`account` is an account's id";
    let account = whose(filter.account.as_deref(), false, &caller, what)?;
    let account = account.unwrap_or(caller.account);
    let mut query = views::Query::new(CHANGES);
    query.when("account = ?", [account.to_string().into()]);
    query.when_some("position > ?", after);
    query.page("position", limit);
    let mut view = open(&app, ACCOUNTS, filter.min_position).await?;
    let (changes, next) = changes(&mut view, &query, limit).await?;
    let tracks = tracks(&mut view, account).await?;
    let explanation = wire::PointsExplanation {
        account: account.to_string(),
        changes,
        tracks,
        next,
    };
    Ok(Shown::new(view.position(), explanation))
}

/// What an account's last change on each track left, and what epochs have taken off it since.
async fn tracks(view: &mut Snapshot, account: AccountId) -> ApiResult<Vec<wire::TrackPoints>> {
    const TRACKS: &str = "SELECT t.track, t.balance,
            CASE t.track WHEN 'compute' THEN p.compute WHEN 'content' THEN p.content ELSE p.verification END,
            f.closed - t.closed
        FROM {point_tracks} t JOIN {points} p ON p.account = t.account JOIN {points_faded} f ON f.id = 0";
    let mut query = views::Query::new(TRACKS);
    query.when("t.account = ?", [account.to_string().into()]);
    query.page("t.track", 3);
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| {
        let mut cells = Cells::new(row);
        let (track, last, points) = (cells.text()?, cells.int()?, cells.int()?);
        Ok(wire::TrackPoints {
            track,
            last: exact(last),
            epochs: cells.count()?,
            faded: exact(last - points),
            points: exact(points),
        })
    });
    rows.collect()
}

/// Epochs, newest first: what part of all points each kept, and what its pool got.
#[utoipa::path(get, path = "/v1/epochs", tag = "points", params(Page), responses((status = 200, body = wire::EpochPage)))]
async fn epochs(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Shown<wire::EpochPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(page.limit)?;
    let after = cursor::<i64>(page.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT e.epoch, e.opened_at, e.closed_at, e.points_keep_ppm, e.reward, e.reward_points, b.amount
         FROM {epochs} e LEFT JOIN {balances} b ON b.account = 'pool/' || e.epoch",
    );
    query.when_some("e.epoch < ?", after);
    query.page("e.epoch DESC", limit);
    let mut view = open(&app, ACCOUNTS, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| epoch(Cells::new(row)));
    let mut epochs = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut epochs, limit, |e| e.epoch.to_string());
    Ok(Shown::new(
        view.position(),
        wire::EpochPage { epochs, next },
    ))
}

fn epoch(mut cells: Cells) -> ApiResult<wire::Epoch> {
    let at = |ms: i64| time(Timestamp(ms));
    let ppm = |n: i64| u32::try_from(n).unwrap_or_default();
    Ok(wire::Epoch {
        epoch: cells.count()?,
        opened_at: at(cells.int()?),
        closed_at: cells.int_or_null()?.map(at),
        points_keep_ppm: cells.int_or_null()?.map(ppm),
        reward: cells.int_or_null()?.map(|n| n.to_string()),
        points: cells.int_or_null()?.map(exact),
        unclaimed: cells.int_or_null()?.map(|n| n.to_string()),
    })
}

/// What the caller's account can claim of the pools that are open.
#[utoipa::path(get, path = "/v1/account/rewards", tag = "points", responses((status = 200, body = wire::Rewards)))]
async fn open_rewards(State(app): State<App>, caller: Caller) -> ApiResult<Reply<wire::Rewards>> {
    caller.require(Scope::Read)?;
    let account = caller.account;
    let parts = app
        .log
        .read(|state, _| state.rewards.claimable(account, &state.epochs.points));
    Ok(Reply(rewards(&parts)))
}

/// Takes the caller's parts of all open pools: they are available at once.
#[utoipa::path(post, path = "/v1/account/rewards", tag = "points", responses((status = 201, body = wire::Rewards)))]
async fn claim_rewards(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
) -> ApiResult<(StatusCode, Reply<wire::Rewards>)> {
    caller.require_one_of(&[Scope::NodesWrite, Scope::ContentsWrite])?;
    let account = caller.account;
    let receipt = submit(&app, caller.actor(), key, Command::ClaimRewards { account }).await?;
    let claimed = event!(&receipt, RewardsClaimed)?;
    Ok((StatusCode::CREATED, Reply(rewards(&claimed.parts))))
}

fn rewards(parts: &[RewardPart]) -> wire::Rewards {
    let sum: i64 = parts.iter().map(|part| part.amount.0).sum();
    let parts = parts.iter().map(|part| wire::RewardPart {
        epoch: part.epoch,
        points: exact(i64::try_from(part.points.0).unwrap_or(i64::MAX)),
        amount: part.amount.to_string(),
    });
    wire::Rewards {
        amount: sum.to_string(),
        parts: parts.collect(),
    }
}
