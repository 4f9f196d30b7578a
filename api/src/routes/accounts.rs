//! Accounts and deposits.

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, OpenAccount, Scope},
    event::Track,
    ids::AccountId,
    ledger::LedgerAccount,
    rejection::Rejection,
    state::{PointsBalance, State as Platform},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{from_name, name_of, parse, time},
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Json, Path, Query},
    listing::{Page, Shown, cursor, limit, next, open},
    submit::{event, submit},
    views::{self, ACCOUNTS, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(open_account, list_accounts))
        .routes(routes!(own_account))
        .routes(routes!(deposit))
}

/// Opens an account with its first key, which is shown this once.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = wire::OpenAccount,
    responses((status = 201, body = wire::OpenedAccount)))]
async fn open_account(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<wire::OpenAccount>,
) -> ApiResult<(StatusCode, Reply<wire::OpenedAccount>)> {
    caller.require(Scope::Admin)?;
    let scopes = match &request.scopes {
        None => Scope::OWNER.to_vec(),
        Some(names) => scopes(names)?,
    };
    let secret = wire::Secret::new_key();
    let command = Command::OpenAccount(OpenAccount {
        name: request.name,
        key_hash: key_hash(&secret)?,
        scopes,
    });
    let receipt = submit(&app, caller.actor(), None, command).await?;
    let opened = event!(&receipt, AccountOpened)?;
    let key = event!(&receipt, KeyAdded)?;
    let opened = wire::OpenedAccount {
        account: opened.account.to_string(),
        name: opened.name.clone(),
        key_id: key.key.to_string(),
        key: secret.expose().to_owned(),
        scopes: key.scopes.iter().map(name_of).collect(),
    };
    Ok((StatusCode::CREATED, Reply(opened)))
}

/// All accounts, in the order of their opening.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(Page),
    responses((status = 200, body = wire::AccountPage)))]
async fn list_accounts(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Shown<wire::AccountPage>> {
    caller.require_one_of(&[Scope::Admin, Scope::Audit])?;
    let limit = limit(page.limit)?;
    let after = cursor::<AccountId>(page.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT a.id, a.name, a.opened_at, COALESCE(available.amount, 0), COALESCE(pending.amount, 0), COALESCE(withdrawing.amount, 0),
             COALESCE(p.compute, 0), COALESCE(p.content, 0), COALESCE(p.verification, 0)
         FROM {accounts} a
         LEFT JOIN {balances} available ON available.account = 'account/' || a.id || '/available'
         LEFT JOIN {balances} pending ON pending.account = 'account/' || a.id || '/pending'
         LEFT JOIN {balances} withdrawing ON withdrawing.account = 'account/' || a.id || '/withdrawing'
         LEFT JOIN {points} p ON p.account = a.id",
    );
    query.when_some("a.id > ?", after.map(|id| id.to_string()));
    query.page("a.id", limit);
    let mut view = open(&app, ACCOUNTS, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| from_row(Cells::new(row)));
    let mut accounts = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut accounts, limit, |a| a.account.clone());
    Ok(Shown::new(
        view.position(),
        wire::AccountPage { accounts, next },
    ))
}

fn from_row(mut cells: Cells) -> ApiResult<wire::Account> {
    Ok(wire::Account {
        account: cells.text()?,
        name: cells.text()?,
        opened_at: time(Timestamp(cells.int()?)),
        available: cells.int()?.to_string(),
        pending: cells.int()?.to_string(),
        withdrawing: cells.int()?.to_string(),
        points: super::points::points(&mut cells)?,
    })
}

/// The caller's account.
#[utoipa::path(get, path = "/v1/account", tag = "accounts", responses((status = 200, body = wire::Account)))]
async fn own_account(State(app): State<App>, caller: Caller) -> ApiResult<Reply<wire::Account>> {
    let account = caller.account;
    let view = app.log.read(|state, _| view(state, account));
    view.map(Reply)
        .ok_or_else(|| Rejection::UnknownAccount { account }.into())
}

/// Books money that came in from outside.
#[utoipa::path(post, path = "/v1/accounts/{id}/deposits", tag = "accounts", params(("id" = String, Path)),
    request_body = wire::Deposit, responses((status = 201, body = wire::Deposited)))]
async fn deposit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::Deposit>,
) -> ApiResult<(StatusCode, Reply<wire::Deposited>)> {
    caller.require(Scope::Admin)?;
    let account: AccountId = id.parse().map_err(|_| no_account(&id))?;
    let command = Command::Deposit {
        account,
        amount: parse("/amount", &request.amount)?,
        reference: request.reference.clone(),
    };
    submit(&app, caller.actor(), key, command).await?;
    let available = LedgerAccount::Available(account);
    let deposited = wire::Deposited {
        account: id,
        amount: request.amount,
        reference: request.reference,
        available: app
            .log
            .read(|state, _| state.ledger.balance(available).to_string()),
    };
    Ok((StatusCode::CREATED, Reply(deposited)))
}

/// An id that can't be parsed is one that does not exist.
pub(super) fn no_account(id: &str) -> ApiError {
    let unknown = Rejection::UnknownAccount {
        account: AccountId(Default::default()),
    };
    ApiError::from(unknown).with_detail(format!("there is no account {id}"))
}

/// Reads scopes by name. The scope `node` comes with joining a node and in no other way.
pub(super) fn scopes(names: &[String]) -> ApiResult<Vec<Scope>> {
    let known = names.iter().enumerate().map(|(i, name)| {
        let pointer = format!("/scopes/{i}");
        match from_name(&pointer, name) {
            Ok(Scope::Node) => Err(ApiError::new(
                Code::ScopeInvalid,
                "the scope `node` belongs to the key that a node registers with",
            )
            .at(pointer)),
            Ok(scope) => Ok(scope),
            Err(_) => {
                let detail = format!("there is no scope `{name}`");
                Err(ApiError::new(Code::ScopeInvalid, detail).at(pointer))
            }
        }
    });
    known.collect()
}

/// What the machine stores of a secret.
pub(super) fn key_hash(secret: &wire::Secret) -> ApiResult<aevir_platform::digest::Digest> {
    parse("", &secret.hash())
}

fn view(state: &Platform, id: AccountId) -> Option<wire::Account> {
    let account = state.accounts.get(&id)?;
    let balance = |of: LedgerAccount| state.ledger.balance(of).to_string();
    Some(wire::Account {
        account: id.to_string(),
        name: account.name.clone(),
        opened_at: time(account.opened_at),
        available: balance(LedgerAccount::Available(id)),
        pending: balance(LedgerAccount::Pending(id)),
        withdrawing: balance(LedgerAccount::Withdrawing(id)),
        points: points(&state.points.get(&id).copied().unwrap_or_default()),
    })
}

fn points(points: &PointsBalance) -> wire::Points {
    wire::Points {
        compute: points.on(Track::Compute).to_string(),
        content: points.on(Track::Content).to_string(),
        verification: points.on(Track::Verification).to_string(),
    }
}
