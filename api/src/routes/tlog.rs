//! The published log, and proofs from it: <https://c2sp.org/tlog-tiles> below `/log`, our own JSON below `/v1/log`.

use std::str::FromStr as _;

use aevir_events::{
    Hash,
    tlog::{Checkpoint, TileKind, TilePath},
};
use aevir_platform::command::Scope;
use aevir_wire as wire;
use axum::{
    Json as Reply,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::{Caller, MaybeCaller},
    error::{ApiError, ApiResult, Code},
    extract::{Path, Query},
};

/// A tile never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Nor does one that not everybody may see.
const FOR_EVER_PRIVATE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(published_checkpoint))
        .routes(routes!(published_tile))
        .routes(routes!(key))
        .routes(routes!(checkpoint))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
}

/// The newest signed checkpoint, as a C2SP signed note.
#[utoipa::path(get, path = "/log/checkpoint", tag = "log",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn published_checkpoint(State(app): State<App>) -> ApiResult<Response> {
    let note = app.published.tiles.checkpoint().await?;
    let note = note.ok_or_else(|| {
        ApiError::new(
            Code::TileUnknown,
            "nothing of this log is published yet: try again",
        )
    })?;
    Ok((
        [
            (header::CONTENT_TYPE, TEXT),
            (header::CACHE_CONTROL, NO_CACHE),
        ],
        note,
    )
        .into_response())
}

/// A tile of hashes, `<L>/<N>` or `<L>/<N>.p/<W>`, which is open to all; or a bundle of entries, `entries/<N>` or
/// `entries/<N>.p/<W>`, for which scope `audit` is needed unless the log is public.
#[utoipa::path(get, path = "/log/tile/{*path}", tag = "log", params(("path" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn published_tile(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Path(path): Path<String>,
) -> ApiResult<Response> {
    let unknown = |detail: String| ApiError::new(Code::TileUnknown, detail);
    let path = TilePath::from_str(&format!("tile/{path}")).map_err(|e| unknown(e.to_string()))?;
    // By what was understood and not by how it was spelt: a route of its own for bundles can be gone around.
    let caching = match path.kind {
        TileKind::Hashes { .. } => FOR_EVER,
        TileKind::Entries if app.published.public => FOR_EVER,
        TileKind::Entries => {
            caller?.require(Scope::Audit)?;
            FOR_EVER_PRIVATE
        }
    };
    let size = app.published.size_for(path).await?;
    if !path.is_within(size) {
        return Err(unknown(format!(
            "`{path}` is not within the published log of {size} entries"
        )));
    }
    let bytes = app.published.tiles.tile(path).await?;
    let bytes = bytes.ok_or_else(|| {
        unknown(format!(
            "`{path}` is not kept any more: ask for the full tile `{}`",
            path.full()
        ))
    })?;
    Ok((
        [
            (header::CONTENT_TYPE, BYTES),
            (header::CACHE_CONTROL, caching),
        ],
        bytes,
    )
        .into_response())
}

/// The log's public key and origin, to be pinned.
#[utoipa::path(get, path = "/v1/log/key", tag = "log", responses((status = 200, body = wire::LogKey)))]
async fn key(State(app): State<App>) -> Reply<wire::LogKey> {
    let key = app.published.publisher.key();
    Reply(wire::LogKey {
        origin: key.origin().to_owned(),
        key: key.to_string(),
        public: app.published.public,
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MinSize {
    /// How many entries it must cover: where the newest one does not, one is signed.
    #[serde(default)]
    min_size: u64,
}

/// The newest signed checkpoint, or a new one that covers so many entries.
#[utoipa::path(get, path = "/v1/log/checkpoint", tag = "log", params(MinSize),
    responses((status = 200, body = wire::LogCheckpoint)))]
async fn checkpoint(
    State(app): State<App>,
    _: Caller,
    Query(query): Query<MinSize>,
) -> ApiResult<Reply<wire::LogCheckpoint>> {
    let size = app.log.head().size;
    let checkpoint = app.published.covering(query.min_size, size).await?;
    Ok(Reply(shown(&checkpoint)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Inclusion {
    /// The entry's position.
    index: u64,
    /// Of the tree; the newest checkpoint's where it is absent.
    size: Option<u64>,
}

/// The proof that an entry is in the log.
#[utoipa::path(get, path = "/v1/log/inclusion", tag = "log", params(Inclusion),
    responses((status = 200, body = wire::InclusionProof)))]
async fn inclusion(
    State(app): State<App>,
    _: Caller,
    Query(query): Query<Inclusion>,
) -> ApiResult<Reply<wire::InclusionProof>> {
    let min_size = query.size.unwrap_or(query.index.saturating_add(1));
    let checkpoint = app
        .published
        .covering(min_size, app.log.head().size)
        .await?;
    let (published, size) = (checkpoint.size, query.size.unwrap_or(checkpoint.size));
    let reader = app.published.publisher.reader();
    let hashes = reader.inclusion_proof(query.index, size, published).await?;
    let root = reader.root(size, published).await?;
    let consistency = reader.consistency_proof(size, published, published).await?;
    Ok(Reply(wire::InclusionProof {
        index: query.index.to_string(),
        size: size.to_string(),
        root: root.to_string(),
        hashes: texts(&hashes),
        consistency: texts(&consistency),
        checkpoint: shown(&checkpoint),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Consistency {
    /// Size of the earlier tree.
    from: u64,
    /// Size of the later one.
    to: u64,
}

/// The proof that one tree of the log is the beginning of another.
#[utoipa::path(get, path = "/v1/log/consistency", tag = "log", params(Consistency),
    responses((status = 200, body = wire::ConsistencyProof)))]
async fn consistency(
    State(app): State<App>,
    _: Caller,
    Query(Consistency { from, to }): Query<Consistency>,
) -> ApiResult<Reply<wire::ConsistencyProof>> {
    let published = app.published.covering(to, app.log.head().size).await?.size;
    let reader = app.published.publisher.reader();
    let hashes = reader.consistency_proof(from, to, published).await?;
    Ok(Reply(wire::ConsistencyProof {
        from: from.to_string(),
        to: to.to_string(),
        from_root: reader.root(from, published).await?.to_string(),
        to_root: reader.root(to, published).await?.to_string(),
        hashes: texts(&hashes),
    }))
}

fn shown(checkpoint: &Checkpoint) -> wire::LogCheckpoint {
    wire::LogCheckpoint {
        size: checkpoint.size.to_string(),
        root: checkpoint.root.to_string(),
        note: checkpoint.note().to_owned(),
    }
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_string).collect()
}
