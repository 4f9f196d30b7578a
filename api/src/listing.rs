//! What all lists have in common: pages, cursors, and the position of the log that they show.
//!
//! Lists come from SQL views, which follow the log. A caller that has written knows the position of what it wrote
//! (`X-Log-Position` of the answer) and may ask for a list that shows it (`min_position`). Without it a list waits for a
//! moment for the log's end as it was when the request came, and shows what it has then, with its own position.

use std::time::Duration;

use aevir_events::{
    Timestamp,
    projection::{ReadError, Snapshot},
};
use aevir_wire::LOG_POSITION;
use axum::{
    Json,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{
    app::App,
    error::{ApiError, ApiResult, Code},
};

/// Rows of a page when no limit is asked for.
const PAGE: u32 = 50;
/// Most rows of a page.
const PAGE_MAX: u32 = 200;
/// How long a list waits for the log's end when it need not show it: some milliseconds are enough, but for a busy
/// machine.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);
/// How long a list waits for the position that it must show.
const POSITION_PATIENCE: Duration = Duration::from_secs(5);

/// What a list without filters is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// 1 to 200; 50 when absent.
    pub(crate) limit: Option<u32>,
    /// The last page's `next`.
    pub(crate) after: Option<String>,
    /// Shows at least so many entries of the log.
    pub(crate) min_position: Option<u64>,
}

/// How many rows are wanted.
pub(crate) fn limit(asked: Option<u32>) -> ApiResult<usize> {
    let limit = asked.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid("`limit` is 1 to 200"));
    }
    Ok(limit as usize)
}

pub(crate) fn invalid(detail: &str) -> ApiError {
    ApiError::new(Code::QueryInvalid, detail)
}

/// A cursor that does not read as one.
pub(crate) fn no_cursor() -> ApiError {
    invalid("`after` is no page's `next`")
}

/// Reads a cursor that is an id or a number.
pub(crate) fn cursor<T: std::str::FromStr>(after: Option<&str>) -> ApiResult<Option<T>> {
    let parsed = after.map(|text| text.parse().map_err(|_| no_cursor()));
    parsed.transpose()
}

/// Reads a time; `what` says what is wanted.
pub(crate) fn instant(text: Option<&str>, what: &str) -> ApiResult<Option<Timestamp>> {
    let parsed = text.map(str::parse);
    parsed.transpose().map_err(|_| invalid(what))
}

/// Takes off the row that only shows that there is another page; answers the cursor for it.
pub(crate) fn next<T>(
    rows: &mut Vec<T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
) -> Option<String> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more).map(cursor)
}

/// Opens a projection's tables once they show `min_position`.
///
/// # Errors
/// `views-behind` where they don't in time, `views-building` where there is nothing to show yet.
pub(crate) async fn open(app: &App, name: &str, min_position: Option<u64>) -> ApiResult<Snapshot> {
    let wanted = min_position.unwrap_or_else(|| app.log.head().size);
    if !app.views.reach(name, wanted, Duration::ZERO).await && stopped(app, name).await?.is_none() {
        let patience = min_position.map_or(HEAD_PATIENCE, |_| POSITION_PATIENCE);
        app.views.reach(name, wanted, patience).await;
    }
    let snapshot = app.views.snapshot(name).await?;
    let position = snapshot.position();
    if min_position.is_none_or(|least| position >= least) {
        return Ok(snapshot);
    }
    let why = stopped(app, name)
        .await?
        .map_or_else(String::new, |why| format!("; {why}"));
    let detail =
        format!("the list shows position {position} of the log, and {wanted} was asked for{why}");
    Err(ApiError::new(Code::ViewsBehind, detail))
}

/// Why the live tables do not move, where they don't.
async fn stopped(app: &App, name: &str) -> ApiResult<Option<String>> {
    use aevir_events::projection::GenerationState::Live;
    let statuses = app.views.statuses().await?;
    let of_name = statuses
        .into_iter()
        .find(|s| s.name == name && s.state == Live);
    let failed = of_name.and_then(|s| s.failed);
    Ok(failed.map(|(position, why)| format!("`{name}` stopped at position {position}: {why}")))
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unknown(name) => Self::new(
                Code::UnknownProjection,
                format!("there is no projection `{name}`"),
            ),
            ReadError::Building { .. } => Self::new(Code::ViewsBuilding, error.to_string()),
            ReadError::Newer { .. } => Self::new(Code::ProjectionNewer, error.to_string()),
            ReadError::Database(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a view can't be read"
                );
                Self::new(
                    Code::ViewsUnavailable,
                    "the views' database does not answer: try again",
                )
            }
            ReadError::Projection(_) => Self::internal("a view can't be read", &error),
        }
    }
}

/// An answer that shows a position of the log.
pub(crate) struct Shown<T> {
    position: u64,
    body: T,
}

impl<T> Shown<T> {
    pub(crate) fn new(position: u64, body: T) -> Self {
        Self { position, body }
    }
}

impl<T: Serialize> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response
            .headers_mut()
            .insert(LOG_POSITION, HeaderValue::from(self.position));
        response
    }
}
