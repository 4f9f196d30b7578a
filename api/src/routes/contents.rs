//! Datasets and models: a catalogue that every account may read.

use std::ops::Bound;

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
    error::{ApiError, ApiResult, Code},
    extract::{IdempotencyKey, Json, Path, Query},
    submit::{event, submit},
};

/// Contents of one page.
const PAGE: usize = 200;

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
    /// The last page's `next`.
    after: Option<String>,
}

/// Contents in the order of their registration.
#[utoipa::path(get, path = "/v1/contents", tag = "contents", params(Filter),
    responses((status = 200, body = wire::ContentPage)))]
async fn list_contents(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> ApiResult<Reply<wire::ContentPage>> {
    caller.require(Scope::Read)?;
    let invalid = |what: &str| ApiError::new(Code::QueryInvalid, what.to_owned());
    let kind: Option<ContentKind> = match filter.kind.as_deref() {
        None => None,
        Some(kind) => {
            Some(from_name("", kind).map_err(|_| invalid("`kind` is `dataset` or `model`"))?)
        }
    };
    let after = filter.after.as_deref().map(str::parse::<ContentId>);
    let after = after
        .transpose()
        .map_err(|_| invalid("`after` is no page's `next`"))?;
    let wanted = |content: &Content| {
        kind.is_none_or(|k| k == content.kind)
            && filter.name.as_ref().is_none_or(|n| *n == content.name)
            && filter
                .version
                .as_ref()
                .is_none_or(|v| *v == content.version)
    };
    let mut contents: Vec<wire::Content> = app.log.read(|state, _| {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = state.contents.range((from, Bound::Unbounded));
        let matching = all.filter(|(_, content)| wanted(content));
        matching
            .take(PAGE + 1)
            .map(|(id, c)| view(*id, c))
            .collect()
    });
    let more = contents.len() > PAGE;
    contents.truncate(PAGE);
    let next = contents.last().filter(|_| more).map(|c| c.id.clone());
    Ok(Reply(wire::ContentPage { contents, next }))
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
