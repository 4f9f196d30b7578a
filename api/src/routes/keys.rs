//! API keys and join tokens of the caller's account.

use aevir_platform::{
    command::{AddKey, Command, Scope},
    ids::KeyId,
    rejection::Rejection,
    state::Key,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::accounts::{key_hash, scopes};
use crate::{
    app::{App, now},
    auth::Caller,
    convert::{name_of, time},
    error::{ApiError, ApiResult, Code},
    extract::{Json, Path},
    submit::{event, submit},
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
        let detail = format!("this key lacks the scope `{}` itself", name_of(&scopes[i]));
        return Err(ApiError::new(Code::ScopeInvalid, detail).at(format!("/scopes/{i}")));
    }
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
        scopes: added.scopes.iter().map(name_of).collect(),
    };
    Ok((StatusCode::CREATED, Reply(added)))
}

/// The account's keys, without their secrets.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = wire::KeyList)))]
async fn list_keys(State(app): State<App>, caller: Caller) -> ApiResult<Reply<wire::KeyList>> {
    caller.require(Scope::Read)?;
    let keys = app.log.read(|state, _| {
        let own = state.keys.iter();
        let own = own.filter(|(_, key)| key.account == caller.account);
        own.map(|(id, key)| view(*id, key)).collect()
    });
    Ok(Reply(wire::KeyList { keys }))
}

/// Revokes a key at once.
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

fn view(id: KeyId, key: &Key) -> wire::Key {
    wire::Key {
        id: id.to_string(),
        label: key.label.clone(),
        scopes: key.scopes.iter().map(name_of).collect(),
        node: key.node.map(|n| n.to_string()),
        revoked: key.revoked,
    }
}
