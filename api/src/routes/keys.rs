//! API keys and join tokens of the caller's account.

use aevir_platform::{
    command::{AddKey, Command, Scope},
    ids::KeyId,
    rejection::Rejection,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::accounts::{key_hash, scopes};
use crate::{
    app::{App, now},
    auth::Caller,
    convert::time,
    error::{ApiError, ApiResult, Code},
    extract::{Json, Path, Query},
    listing::{Page, Shown, cursor, limit, next, open},
    submit::{count, event, submit},
    views::{self, ACCOUNTS, Cells},
};

/// Life of a join token when none is asked for, in seconds.
const TOKEN_TTL_S: u32 = 3_600;
/// Longest life of a join token, in seconds.
const TOKEN_TTL_S_MAX: u32 = 30 * 24 * 3_600;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(add_key, list_keys))
        .routes(routes!(revoke_key))
        .routes(routes!(issue_join_token))
}

/// Adds a key, shown this once; it gets at most the scopes of the calling key.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = wire::AddKey,
    responses((status = 201, body = wire::AddedKey)))]
async fn add_key(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<wire::AddKey>,
) -> ApiResult<(StatusCode, Reply<wire::AddedKey>)> {
    caller.require(Scope::KeysWrite)?;
    let scopes = scopes(&request.scopes)?;
    if let Some(i) = scopes.iter().position(|s| !caller.has(*s)) {
        let detail = format!("this key lacks the scope `{}` itself", scopes[i].name());
        return Err(ApiError::new(Code::ScopeInvalid, detail).at(format!("/scopes/{i}")));
    }
    count(&app, &caller, None).await?;
    let secret = wire::Secret::new_key();
    let command = Command::AddKey(AddKey {
        account: caller.account,
        label: request.label,
        hash: key_hash(&secret)?,
        scopes,
    });
    let receipt = submit(&app, caller.actor(), None, command).await?;
    let added = event!(&receipt, KeyAdded)?;
    let added = wire::AddedKey {
        id: added.key.to_string(),
        key: secret.expose().to_owned(),
        label: added.label.clone(),
        scopes: added
            .scopes
            .iter()
            .map(|scope| scope.name().to_owned())
            .collect(),
    };
    Ok((StatusCode::CREATED, Reply(added)))
}

/// The account's keys, without their secrets, oldest first.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(Page), responses((status = 200, body = wire::KeyList)))]
async fn list_keys(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Shown<wire::KeyList>> {
    caller.require(Scope::Read)?;
    let limit = limit(page.limit)?;
    let after = cursor::<KeyId>(page.after.as_deref())?;
    let mut query = views::Query::new("SELECT id, label, scopes, node, revoked FROM {keys}");
    query.when("account = ?", [caller.account.to_string().into()]);
    query.when_some("id > ?", after.map(|id| id.to_string()));
    query.page("id", limit);
    let mut view = open(&app, ACCOUNTS, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| from_row(Cells::new(row)));
    let mut keys = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut keys, limit, |k| k.id.clone());
    Ok(Shown::new(view.position(), wire::KeyList { keys, next }))
}

fn from_row(mut cells: Cells) -> ApiResult<wire::Key> {
    Ok(wire::Key {
        id: cells.text()?,
        label: cells.text()?,
        scopes: cells.json()?,
        node: cells.text_or_null()?,
        revoked: cells.int()? != 0,
    })
}

/// Revokes a key at once. However much the account has written: whoever got hold of a key of it keeps nobody from revoking that.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204)))]
async fn revoke_key(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    caller.require(Scope::KeysWrite)?;
    let key = id.parse().map_err(|_| Rejection::UnknownKey)?;
    let account = caller.account;
    let command = Command::RevokeKey { account, key };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token with which one node may join the account; shown this once.
#[utoipa::path(post, path = "/v1/join-tokens", tag = "keys", request_body = wire::IssueJoinToken,
    responses((status = 201, body = wire::JoinToken)))]
async fn issue_join_token(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<wire::IssueJoinToken>,
) -> ApiResult<(StatusCode, Reply<wire::JoinToken>)> {
    caller.require(Scope::NodesWrite)?;
    let ttl_s = request.ttl_s.unwrap_or(TOKEN_TTL_S);
    if !(1..=TOKEN_TTL_S_MAX).contains(&ttl_s) {
        let detail = format!("{ttl_s} is not in 1 to {TOKEN_TTL_S_MAX}");
        return Err(ApiError::new(Code::FieldInvalid, detail).at("/ttl_s"));
    }
    count(&app, &caller, None).await?;
    let token = wire::Secret::new_token();
    let expires = now().plus_ms(i64::from(ttl_s) * 1_000);
    let command = Command::IssueJoinToken {
        account: caller.account,
        token_hash: key_hash(&token)?,
        expires,
    };
    submit(&app, caller.actor(), None, command).await?;
    let issued = wire::JoinToken {
        token: token.expose().to_owned(),
        expires: time(expires),
    };
    Ok((StatusCode::CREATED, Reply(issued)))
}
