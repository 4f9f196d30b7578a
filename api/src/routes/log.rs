//! The log for auditors: raw entries and its end.

use aevir_platform::command::Scope;
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, response::Response};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    error::{ApiError, ApiResult},
    extract::Query,
    stream::{Gone, KEEP_ALIVE, Lines, ndjson},
};

/// Entries read and sent at once; an entry has at most 64 KiB.
const PAGE: usize = 128;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(entries))
        .routes(routes!(head))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Span {
    /// The first position.
    #[serde(default)]
    from: u64,
    /// How many entries at most; all when absent.
    limit: Option<u64>,
    /// Go on with what happens, instead of ending at the log's end.
    #[serde(default)]
    follow: bool,
}

/// The log's entries as NDJSON, byte for byte as stored.
#[utoipa::path(get, path = "/v1/events", tag = "log", params(Span),
    responses((status = 200, body = Object, content_type = "application/x-ndjson")))]
async fn entries(
    State(app): State<App>,
    caller: Caller,
    Query(span): Query<Span>,
) -> ApiResult<Response> {
    caller.require(Scope::Audit)?;
    let reader = app.clone();
    Ok(ndjson(&app, move |lines| async move {
        write_entries(&reader, span, &lines).await
    }))
}

async fn write_entries(app: &App, span: Span, lines: &Lines) -> Result<(), Gone> {
    let mut head = app.live.watch_head();
    let mut next = span.from;
    let mut left = span.limit.unwrap_or(u64::MAX);
    while left > 0 {
        // Before reading, so that what comes in meanwhile wakes the wait below.
        head.mark_unchanged();
        let page = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = match app.log.entries(next, page).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(
                    position = next,
                    error = &error as &dyn std::error::Error,
                    "the log can't be read"
                );
                lines.abort("the log can't be read").await;
                return Err(Gone);
            }
        };
        if page.is_empty() {
            if !span.follow {
                return Ok(());
            }
            match timeout(KEEP_ALIVE, head.changed()).await {
                Ok(changed) => changed.map_err(|_| Gone)?,
                Err(_) => lines.keep_alive().await?,
            }
            continue;
        }
        let mut bytes = Vec::new();
        for stored in page {
            bytes.extend_from_slice(&stored.entry.0);
            bytes.push(b'\n');
            next = stored.position + 1;
            left -= 1;
        }
        lines.raw(bytes).await?;
    }
    Ok(())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HeadQuery {
    /// Compute the state's hash as well, which costs a walk over the whole state.
    #[serde(default)]
    state_hash: bool,
}

/// Size and Merkle root of the log, and the hash of the state at that size where it is asked for.
#[utoipa::path(get, path = "/v1/log/head", tag = "log", params(HeadQuery),
    responses((status = 200, body = wire::LogHead)))]
async fn head(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<HeadQuery>,
) -> ApiResult<Reply<wire::LogHead>> {
    caller.require(Scope::Audit)?;
    if !query.state_hash {
        let head = app.log.head();
        return Ok(Reply(wire::LogHead {
            size: head.size.to_string(),
            root: head.root.to_string(),
            state_hash: None,
            publishing: app.published.publishing(),
        }));
    }
    let log = app.log.clone();
    let hashed = app.state_hash.of(app.log.head(), move || log.copy()).await;
    let (head, hash) = hashed.map_err(|e| ApiError::internal("hashing the state failed", &e))?;
    Ok(Reply(wire::LogHead {
        size: head.size.to_string(),
        root: head.root.to_string(),
        state_hash: Some(hash),
        publishing: app.published.publishing(),
    }))
}
