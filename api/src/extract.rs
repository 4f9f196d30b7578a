//! Reading requests: every way in which one can be malformed becomes a problem with a code and, for a body, a
//! JSON pointer.

use std::time::Duration;

use aevir_wire::{IDEMPOTENCY_KEY, JSON_VALUES_MAX};
use axum::{
    body::Body,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{PathRejection, QueryRejection},
    },
    http::request::Parts,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::{
    app::App,
    convert::json_pointer,
    error::{ApiError, ApiResult, Code},
};

/// Largest JSON body: a task's 64 inline inputs of 16 KiB, escaped, and its definition.
pub(crate) const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A JSON body must be here by then.
const JSON_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A JSON body. An empty body reads as `{}`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> ApiResult<Self> {
        let bytes = read_all(request.into_body(), JSON_BYTES_MAX, JSON_TIME_MAX).await?;
        let bytes = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        parse_json(bytes).map(Json)
    }
}

/// Reads JSON text strictly, naming the place of a mistake.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let values = values(bytes);
    if values > JSON_VALUES_MAX {
        let detail =
            format!("the body has some {values} JSON values; at most {JSON_VALUES_MAX} are read");
        return Err(ApiError::new(Code::BodyTooLarge, detail));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let pointer = json_pointer(e.path());
        let error = e.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::new(Code::FieldInvalid, error.to_string()).at(pointer)
            }
            _ => ApiError::new(Code::JsonInvalid, format!("the body is not JSON: {error}")),
        }
    })?;
    json.end()
        .map_err(|e| ApiError::new(Code::JsonInvalid, format!("the body is not JSON: {e}")))?;
    Ok(value)
}

/// How many values JSON text has, or a few more: as many as what they stand behind, outside of strings.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' | b',' | b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Reads a whole body of at most `bytes_max` bytes within `time_max`.
pub(crate) async fn read_all(body: Body, bytes_max: usize, time_max: Duration) -> ApiResult<Bytes> {
    let read = tokio::time::timeout(time_max, Limited::new(body, bytes_max).collect()).await;
    let read = read.map_err(|_| {
        let detail = format!("the body was not complete after {} s", time_max.as_secs());
        ApiError::new(Code::BodyBroken, detail)
    })?;
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(too_large(bytes_max as u64)),
        Err(e) => Err(ApiError::new(
            Code::BodyBroken,
            format!("the body ended early: {e}"),
        )),
    }
}

/// The refusal of a body that is larger than `bytes_max`.
pub(crate) fn too_large(bytes_max: u64) -> ApiError {
    let detail = format!("the body is larger than the {bytes_max} bytes that this route takes");
    ApiError::new(Code::BodyTooLarge, detail)
}

/// Parts of the path, as text: an id that can't be parsed is one that does not exist.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::UnknownRoute, rejection.body_text())
    }
}

/// The query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::QueryInvalid, rejection.body_text())
    }
}

/// The caller's idempotency key, where one was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl FromRequestParts<App> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default();
        let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(Some(text.to_owned())));
        }
        let detail = "an idempotency key has 1 to 128 visible ASCII characters";
        Err(ApiError::new(Code::IdempotencyKeyInvalid, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_before_they_are_read() {
        assert_eq!(values(br#"{"a,[": "\"{,", "b": [1, 2]}"#), 6);
        let many = format!("[{}0]", "0,".repeat(JSON_VALUES_MAX));
        let refused = parse_json::<serde_json::Value>(many.as_bytes());
        assert!(refused.is_err_and(|e| e.code() == "body-too-large"));
        let text = format!("[\"{}\"]", "{,".repeat(JSON_VALUES_MAX));
        assert!(parse_json::<serde_json::Value>(text.as_bytes()).is_ok());
    }
}
