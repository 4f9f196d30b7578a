//! Bodies that are written while something happens, and objects as answers.

use std::{ops::Range, time::Duration};

use aevir_platform::digest::Digest;
use aevir_wire::NDJSON;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    app::App,
    error::{ApiError, ApiResult, Code},
    extract::too_large,
    objects::{ByteStream, Object, PutError, StoreError},
};

/// Chunks written ahead of a slow reader.
const CHUNKS_AHEAD: usize = 16;
/// An upload that brings nothing for this long is given up.
const UPLOAD_SILENCE_MAX: Duration = Duration::from_secs(60);
/// A stream that has nothing to say sends an empty line this often, so that both ends learn of a broken connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The writing end of an NDJSON body.
#[derive(Debug, Clone)]
pub(crate) struct Lines(mpsc::Sender<std::io::Result<Bytes>>);

/// The reader has gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Lines {
    pub(crate) async fn json(&self, value: &impl Serialize) -> Result<(), Gone> {
        let mut line = serde_json::to_vec(value).map_err(|_| Gone)?;
        line.push(b'\n');
        self.raw(line).await
    }

    /// Bytes that end with a line feed.
    pub(crate) async fn raw(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(bytes.into())).await.map_err(|_| Gone)
    }

    pub(crate) async fn keep_alive(&self) -> Result<(), Gone> {
        self.raw(&b"\n"[..]).await
    }

    /// Ends the body so that the reader sees that it is not complete.
    pub(crate) async fn abort(&self, reason: &str) {
        let _ = self.0.send(Err(std::io::Error::other(reason))).await;
    }

    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// An NDJSON answer whose lines are written by `write`, which ends when the reader has gone or the server stops.
pub(crate) fn ndjson<F, Fut>(app: &App, write: F) -> Response
where
    F: FnOnce(Lines) -> Fut,
    Fut: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let lines = Lines(sender);
    let (ends, writing) = (lines.clone(), write(lines));
    let stopping = app.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            // An end for whatever reason is the end of the body.
            _ = writing => {}
            () = ends.closed() => {}
            () = stopping.cancelled() => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

/// A request's body as an upload: a silent sender is given up.
pub(crate) fn upload(body: Body) -> ByteStream {
    let chunks = body.into_data_stream().map_err(std::io::Error::other);
    patient(chunks, UPLOAD_SILENCE_MAX).boxed()
}

fn patient<S>(chunks: S, silence_max: Duration) -> impl Stream<Item = std::io::Result<Bytes>> + Send
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static,
{
    futures::stream::try_unfold(chunks, move |mut chunks| async move {
        match tokio::time::timeout(silence_max, chunks.try_next()).await {
            Ok(chunk) => Ok(chunk?.map(|chunk| (chunk, chunks))),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    })
}

/// The size that a request announces for its body, refused here where it is too large.
pub(crate) fn check_length(headers: &HeaderMap, size_max: u64) -> ApiResult<()> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|l| l.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > size_max => Err(too_large(size_max)),
        Some(_) | None => Ok(()),
    }
}

impl From<PutError> for ApiError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Digest { found } => {
                let detail = format!(
                    "the bytes have the digest {found}, another one than the request names"
                );
                Self::new(Code::DigestMismatch, detail)
            }
            PutError::TooLarge { size_max } => too_large(size_max),
            PutError::Source(error) => {
                Self::new(Code::BodyBroken, format!("the body ended early: {error}"))
            }
            PutError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "the object store failed");
        Self::new(
            Code::ObjectsUnavailable,
            "the object store does not answer: try again",
        )
    }
}

/// An object of the store as an answer, whole or the range that the request asks for.
pub(crate) async fn object(app: &App, digest: Digest, headers: &HeaderMap) -> ApiResult<Response> {
    let lost = || {
        tracing::error!(%digest, "an object that the log names is not in the store");
        ApiError::new(
            Code::ObjectLost,
            format!("blob {digest} is not in the object store"),
        )
    };
    let asked = headers.get(header::RANGE).and_then(|r| r.to_str().ok());
    let range = match asked {
        None => None,
        Some(text) => {
            let size = app.objects.size(digest).await?.ok_or_else(lost)?;
            parse_range(text, size)?
        }
    };
    let object = app.objects.get(digest, range.clone()).await?;
    Ok(render(digest, object.ok_or_else(lost)?, range))
}

fn render(digest: Digest, object: Object, range: Option<Range<u64>>) -> Response {
    let Object { size, bytes } = object;
    let (status, length) = match &range {
        None => (StatusCode::OK, size),
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.end - range.start),
    };
    let mut response = (status, Body::from_stream(bytes)).into_response();
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        // All of them are made of ASCII.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream".into());
    set(header::CONTENT_LENGTH, length.to_string());
    set(header::ACCEPT_RANGES, "bytes".into());
    set(header::ETAG, format!("\"{digest}\""));
    set(header::CACHE_CONTROL, "private, immutable".into());
    if let Some(range) = range {
        let last = range.end - 1;
        set(
            header::CONTENT_RANGE,
            format!("bytes {}-{last}/{size}", range.start),
        );
    }
    response
}

/// One range of bytes (RFC 9110, section 14). Other units and lists of ranges are ignored, as it allows.
fn parse_range(text: &str, size: u64) -> ApiResult<Option<Range<u64>>> {
    let Some(spec) = text.strip_prefix("bytes=") else {
        return Ok(None);
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => return Ok(None),
    };
    if range.start >= range.end {
        let detail = format!("`{text}` lies outside the object's {size} bytes");
        return Err(ApiError::new(Code::RangeInvalid, detail));
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_standard() {
        type Parsed = Result<Option<Range<u64>>, &'static str>;
        let rows: [(&str, Parsed); 9] = [
            ("bytes=0-3", Ok(Some(0..4))),
            ("bytes=4-", Ok(Some(4..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=8-100", Ok(Some(8..10))),
            ("bytes=10-", Err("range-invalid")),
            ("bytes=-0", Err("range-invalid")),
            ("bytes=0-1,4-5", Ok(None)),
            ("lines=1-2", Ok(None)),
        ];
        for (text, expected) in rows {
            let parsed = parse_range(text, 10).map_err(|e| e.code());
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
