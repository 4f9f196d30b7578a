//! Datasets and models: a catalogue in which each account sees what it may use.

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, ContentKind, RegisterContent, Scope},
    digest::Digest,
    ids::ContentId,
    rejection::Rejection,
    report::Artifact,
    state::Content,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{artifacts, from_name, into_domain, name_of, parse, time, to_wire},
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Json, Path, Query},
    listing::{Shown, cursor, invalid, limit, next, open},
    submit::{count, event, submit},
    views::{self, CATALOGUE, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_content, list_contents))
        .routes(routes!(show_content))
        .routes(routes!(change_content_terms))
}

/// Registers a dataset or model version made of blobs that the caller uploaded.
#[utoipa::path(post, path = "/v1/contents", tag = "contents", request_body = wire::RegisterContent,
    responses((status = 201, body = wire::Content)))]
async fn register_content(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<wire::RegisterContent>,
) -> ApiResult<(StatusCode, Reply<wire::Content>)> {
    caller.require(Scope::ContentsWrite)?;
    let files: Vec<Artifact> = into_domain("/files", &request.files)?;
    let command = Command::RegisterContent(RegisterContent {
        owner: caller.account,
        kind: from_name("/kind", &request.kind)?,
        name: request.name,
        version: request.version,
        files,
        licence: licence("/licence", request.licence)?,
        weight: request.weight,
        price: parse("/price", &request.price)?,
        access: into_domain("/access", &request.access)?,
        contributors: into_domain("/contributors", &request.contributors)?,
    });
    count(&app, &caller, key.as_deref()).await?;
    let receipt = submit(&app, caller.actor(), key, command).await?;
    let registered = event!(&receipt, ContentRegistered)?;
    let id = registered.content;
    let content = shown(&app, &caller, id)?;
    Ok((
        StatusCode::CREATED,
        Reply(content.ok_or(Rejection::UnknownContent { content: id })?),
    ))
}

/// Sets what tasks that are submitted from here on pay for a content of the caller's, and who may submit them. Tasks that are there keep
/// the terms of their time.
#[utoipa::path(put, path = "/v1/contents/{id}/terms", tag = "contents", params(("id" = String, Path)),
    request_body = wire::ContentTerms, responses((status = 200, body = wire::Content)))]
async fn change_content_terms(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Path(text): Path<String>,
    Json(request): Json<wire::ContentTerms>,
) -> ApiResult<Reply<wire::Content>> {
    caller.require(Scope::ContentsWrite)?;
    let content: ContentId = text.parse().map_err(|_| no_content(None, &text))?;
    let command = Command::ChangeContentTerms {
        owner: caller.account,
        content,
        price: parse("/price", &request.price)?,
        access: into_domain("/access", &request.access)?,
    };
    count(&app, &caller, key.as_deref()).await?;
    submit(&app, caller.actor(), key, command).await?;
    let content = shown(&app, &caller, content)?;
    content.map(Reply).ok_or_else(|| no_content(None, &text))
}

/// An SPDX expression, or the digest of the licence's text.
pub(super) fn licence(pointer: &str, text: String) -> ApiResult<String> {
    let is_digest = text
        .strip_prefix("sha256:")
        .is_some_and(|digest| digest.parse::<Digest>().is_ok());
    if is_digest {
        return Ok(text);
    }
    match spdx::Expression::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ApiError::new(
            Code::FieldInvalid,
            format!(
                "`{text}` is no SPDX expression ({}): write one such as `CC-BY-4.0`, `LicenseRef-` and a name of your own, or `sha256:` and \
                 the digest of the licence's text",
                error.reason
            ),
        )
        .at(pointer)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `dataset` or `model`.
    kind: Option<String>,
    name: Option<String>,
    version: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// The contents that the caller may use, in the order of their registration; all of them with scope `audit` or `admin`.
#[utoipa::path(get, path = "/v1/contents", tag = "contents", params(Filter),
    responses((status = 200, body = wire::ContentPage)))]
async fn list_contents(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> ApiResult<Shown<wire::ContentPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let kind = filter
        .kind
        .as_deref()
        .map(|kind| from_name::<ContentKind>("", kind));
    kind.transpose()
        .map_err(|_| invalid("`kind` is `dataset` or `model`"))?;
    let after = cursor::<ContentId>(filter.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT id, owner, kind, name, version, files, licence, weight, price, access, contributors, lineage, registered_at
         FROM {contents}",
    );
    query.when_some("kind = ?", filter.kind.as_deref());
    query.when_some("name = ?", filter.name.as_deref());
    query.when_some("version = ?", filter.version.as_deref());
    query.when_some("id > ?", after.map(|id| id.to_string()));
    let account = caller.account.to_string();
    if !sees_all(&caller) {
        query.when(
            "(is_open = 1 OR owner = ? OR id IN (SELECT content FROM {content_readers} WHERE account = ? AND may_read = 1))",
            [account.as_str().into(), account.as_str().into()],
        );
    }
    query.page("id", limit);
    let mut view = open(&app, CATALOGUE, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows
        .into_iter()
        .map(|row| from_row(Cells::new(row), &account));
    let mut contents = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut contents, limit, |c| c.id.clone());
    Ok(Shown::new(
        view.position(),
        wire::ContentPage { contents, next },
    ))
}

fn from_row(mut cells: Cells, account: &str) -> ApiResult<wire::Content> {
    let content = wire::Content {
        id: cells.text()?,
        owner: cells.text()?,
        kind: cells.text()?,
        name: cells.text()?,
        version: cells.text()?,
        files: cells.json()?,
        licence: cells.text()?,
        weight: cells.count()?,
        price: cells.int()?.to_string(),
        access: cells.json()?,
        contributors: cells.json()?,
        lineage: cells.json_or_null()?,
        registered_at: time(Timestamp(cells.int()?)),
    };
    Ok(for_account(content, account))
}

/// Whom it is for is its owner's business.
fn for_account(mut content: wire::Content, account: &str) -> wire::Content {
    if content.owner != account {
        content.access = content
            .access
            .filter(|access| *access == wire::Access::Everybody);
    }
    content
}

/// Who looks after the market, or over it.
fn sees_all(caller: &Caller) -> bool {
    caller.require_one_of(&[Scope::Audit, Scope::Admin]).is_ok()
}

/// One content.
#[utoipa::path(get, path = "/v1/contents/{id}", tag = "contents", params(("id" = String, Path)),
    responses((status = 200, body = wire::Content)))]
async fn show_content(
    State(app): State<App>,
    caller: Caller,
    Path(text): Path<String>,
) -> ApiResult<Reply<wire::Content>> {
    caller.require(Scope::Read)?;
    let id: Option<ContentId> = text.parse().ok();
    let content = id.map(|id| shown(&app, &caller, id)).transpose()?;
    content
        .flatten()
        .map(Reply)
        .ok_or_else(|| no_content(id, &text))
}

fn no_content(id: Option<ContentId>, text: &str) -> ApiError {
    let unknown = Rejection::UnknownContent {
        content: id.unwrap_or(ContentId(Default::default())),
    };
    ApiError::from(unknown).with_detail(format!("there is no content {text}"))
}

/// A content, where it is there for the caller.
fn shown(app: &App, caller: &Caller, id: ContentId) -> ApiResult<Option<wire::Content>> {
    let (account, all) = (caller.account, sees_all(caller));
    app.log.read(|state, _| {
        let content = match all {
            true => state.contents.get(&id),
            false => state.content_for(account, id),
        };
        let content = content.map(|content| view(id, content)).transpose()?;
        Ok(content.map(|content| for_account(content, &account.to_string())))
    })
}

fn view(id: ContentId, content: &Content) -> ApiResult<wire::Content> {
    Ok(wire::Content {
        id: id.to_string(),
        owner: content.owner.to_string(),
        kind: name_of(&content.kind),
        name: content.name.clone(),
        version: content.version.clone(),
        files: artifacts(&content.files),
        licence: content.licence.clone(),
        weight: content.weight,
        price: content.price.to_string(),
        access: Some(to_wire(&content.access)?),
        contributors: to_wire(&content.contributors)?,
        lineage: content.lineage.as_ref().map(|l| wire::Lineage {
            task: l.task.to_string(),
            base: l.base.map(|b| b.to_string()),
            contents: texts(&l.contents),
            tasks: texts(&l.tasks),
            nodes: texts(&l.nodes),
        }),
        registered_at: time(content.registered_at),
    })
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
