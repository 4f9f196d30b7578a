//! Datasets and models: a catalogue that every account may read.

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, ContentKind, RegisterContent, Scope},
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
    convert::{artifacts, from_name, into_domain, name_of, time},
    error::{ApiError, ApiResult},
    extract::{IdempotencyKey, Json, Path, Query},
    listing::{Shown, cursor, invalid, limit, next, open},
    submit::{event, submit},
    views::{self, CATALOGUE, Cells},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_content, list_contents))
        .routes(routes!(show_content))
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
        licence: request.licence,
        weight: request.weight,
    });
    let receipt = submit(&app, caller.actor(), key, command).await?;
    let registered = event!(&receipt, ContentRegistered)?;
    let id = registered.content;
    let content = app
        .log
        .read(|state, _| Some(view(id, state.contents.get(&id)?)));
    let content = content.ok_or(Rejection::UnknownContent { content: id })?;
    Ok((StatusCode::CREATED, Reply(content)))
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

/// Contents in the order of their registration.
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
        "SELECT id, owner, kind, name, version, files, licence, weight, lineage, registered_at FROM {contents}",
    );
    query.when_some("kind = ?", filter.kind.as_deref());
    query.when_some("name = ?", filter.name.as_deref());
    query.when_some("version = ?", filter.version.as_deref());
    query.when_some("id > ?", after.map(|id| id.to_string()));
    query.page("id", limit);
    let mut view = open(&app, CATALOGUE, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| from_row(Cells::new(row)));
    let mut contents = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut contents, limit, |c| c.id.clone());
    Ok(Shown::new(
        view.position(),
        wire::ContentPage { contents, next },
    ))
}

fn from_row(mut cells: Cells) -> ApiResult<wire::Content> {
    Ok(wire::Content {
        id: cells.text()?,
        owner: cells.text()?,
        kind: cells.text()?,
        name: cells.text()?,
        version: cells.text()?,
        files: cells.json()?,
        licence: cells.text()?,
        weight: cells.count()?,
        lineage: cells.json_or_null()?,
        registered_at: time(Timestamp(cells.int()?)),
    })
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
    let content = id.and_then(|id| {
        app.log
            .read(|state, _| Some(view(id, state.contents.get(&id)?)))
    });
    content.map(Reply).ok_or_else(|| {
        let unknown = Rejection::UnknownContent {
            content: id.unwrap_or(ContentId(Default::default())),
        };
        ApiError::from(unknown).with_detail(format!("there is no content {text}"))
    })
}

fn view(id: ContentId, content: &Content) -> wire::Content {
    wire::Content {
        id: id.to_string(),
        owner: content.owner.to_string(),
        kind: name_of(&content.kind),
        name: content.name.clone(),
        version: content.version.clone(),
        files: artifacts(&content.files),
        licence: content.licence.clone(),
        weight: content.weight,
        lineage: content.lineage.as_ref().map(|l| wire::Lineage {
            task: l.task.to_string(),
            base: l.base.map(|b| b.to_string()),
            contents: texts(&l.contents),
            tasks: texts(&l.tasks),
            nodes: texts(&l.nodes),
        }),
        registered_at: time(content.registered_at),
    }
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
