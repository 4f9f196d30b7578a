//! One call: built, sent, repeated where that is safe, and its answer read.

use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use reqwest::{Method, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, READ_TIMEOUT};
use crate::{IDEMPOTENCY_KEY, LOG_POSITION, problem::Problem, secret::Secret};

/// Attempts of one call.
const ATTEMPTS_MAX: u32 = 5;
/// Wait before the second attempt; doubles with each further one (0.1, 0.2, 0.4, 0.8 s).
const BACKOFF: Duration = Duration::from_millis(100);
/// Longer waits are none of a repetition's own, and whoever waits is told.
const BACKOFF_TOLD_MIN: Duration = Duration::from_millis(900);
/// The longest wait that a server's Retry-After may ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Longest silence before the answer to a patient call: a module waits for two minutes until it is judged, and for as long while it is.
const PATIENT_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// The slowest line whose uploads come through, in bytes a second: the wait for an answer begins with the request, and not when its body has
/// been sent. A server that is gone shows sooner, by what it does not acknowledge.
const UPLOAD_BYTES_S_MIN: u64 = 64 * 1024;

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Empty,
    Json(Bytes),
    Bytes(Bytes),
    File(PathBuf),
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Body,
    idempotency_key: Option<String>,
    repeatable: bool,
    /// Must show what this client has seen.
    is_list: bool,
    /// The server may work on it for minutes before it says anything.
    is_patient: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::Empty,
            idempotency_key: None,
            repeatable,
            is_list: false,
            is_patient: false,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// A list that is served from views.
    pub(super) fn list(path: impl Into<String>) -> Self {
        Self {
            is_list: true,
            ..Self::get(path)
        }
    }

    pub(super) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, true)
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, false)
    }

    /// Not repeated, unless it is made [`Call::repeatable`] or [`Call::keyed`].
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, false)
    }

    /// Doing it twice is the same as once.
    pub(super) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The answer is waited for in minutes.
    pub(super) fn patient(mut self) -> Self {
        self.is_patient = true;
        self
    }

    pub(super) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Repeated under this idempotency key, or a fresh one.
    pub(super) fn keyed(mut self, key: Option<&str>) -> Self {
        let fresh = || hex::encode(rand::random::<[u8; 16]>());
        self.idempotency_key = Some(key.map_or_else(fresh, str::to_owned));
        self.repeatable = true;
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query
            .extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(super) fn json(self, value: &impl Serialize) -> Result<Self, ClientError> {
        let json = serde_json::to_vec(value).map_err(ClientError::Json)?;
        Ok(self.body(Body::Json(json.into())))
    }
}

impl Call {
    /// How long the server may say nothing, with a body of so many bytes.
    fn silence(&self, length: u64) -> Duration {
        let answering = if self.is_patient {
            PATIENT_READ_TIMEOUT
        } else {
            READ_TIMEOUT
        };
        answering + Duration::from_secs(length / UPLOAD_BYTES_S_MIN)
    }
}

impl Body {
    /// The bytes to send, and how many they are.
    async fn open(&self) -> Result<(Option<reqwest::Body>, u64), ClientError> {
        match self {
            Self::Empty => Ok((None, 0)),
            Self::Json(bytes) | Self::Bytes(bytes) => {
                Ok((Some(bytes.clone().into()), bytes.len() as u64))
            }
            Self::File(path) => {
                let failed = |e| ClientError::file(path, e);
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let length = file.metadata().await.map_err(failed)?.len();
                let stream = reqwest::Body::wrap_stream(ReaderStream::new(file));
                Ok((Some(stream), length))
            }
        }
    }

    fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Empty | Self::Bytes(_) | Self::File(_) => "application/octet-stream",
        }
    }
}

impl Client {
    /// Sends a call and reads its JSON answer.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let response = self.send(&call).await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(ClientError::Transport)?;
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Unexpected {
            status,
            reason: e.to_string(),
        })
    }

    /// Sends a call whose answer has no body worth reading.
    pub(super) async fn execute(&self, call: Call) -> Result<(), ClientError> {
        self.send(&call).await.map(|_| ())
    }

    /// Sends a call, repeating it where that is safe; anything but a 2xx answer is an error.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, ClientError> {
        let mut attempt = 1;
        loop {
            let (error, retry_after) = match self.with_some_key(call).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if !call.repeatable || attempt >= ATTEMPTS_MAX || !error.is_transient() {
                return Err(error);
            }
            let backoff = BACKOFF * 2u32.pow(attempt - 1);
            let wait = retry_after.map_or(backoff, |asked| asked.clamp(backoff, RETRY_AFTER_MAX));
            if wait > BACKOFF_TOLD_MIN {
                let seconds = wait.as_secs();
                tracing::warn!(path = call.path, seconds, %error, "waiting, as the server asks for");
            } else {
                tracing::debug!(path = call.path, attempt, %error, "repeating the call");
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Makes a call with the client's key, or else with another one that is kept for it.
    async fn with_some_key(&self, call: &Call) -> Result<Response, Failed> {
        let own = self.key();
        let failed = match self.attempt(call, own.as_ref()).await {
            Err(failed) if is_key_unknown(&failed) => failed,
            answer => return answer,
        };
        let kept = self.kept.as_ref().map(|kept| kept()).unwrap_or_default();
        for key in kept.into_iter().filter(|key| Some(key) != own.as_ref()) {
            match self.attempt(call, Some(&key)).await {
                Err(failed) if is_key_unknown(&failed) => {}
                answer => {
                    self.take_key(key);
                    return answer;
                }
            }
        }
        Err(failed)
    }

    async fn attempt(&self, call: &Call, key: Option<&Secret>) -> Result<Response, Failed> {
        let plain = |error| (error, None);
        let (body, length) = call.body.open().await.map_err(plain)?;
        let http = match call.silence(length) {
            READ_TIMEOUT => self.http.clone(),
            // Such calls are few: one may well have connections of its own.
            longer => super::http(&self.base_url, longer).map_err(plain)?,
        };
        let mut request = http
            .request(
                call.method.clone(),
                format!("{}{}", self.base_url, call.path),
            )
            .query(&call.query);
        let seen = self.seen.load(Ordering::Relaxed);
        if call.is_list && seen > 0 {
            request = request.query(&[("min_position", seen)]);
        }
        if let Some(key) = key {
            request = request.bearer_auth(key.expose());
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, call.body.media_type())
                .header(header::CONTENT_LENGTH, length)
                .body(body);
        }
        let sent = request.send().await;
        let response = sent.map_err(|e| plain(ClientError::Transport(e)))?;
        if response.status().is_success() {
            let position = response.headers().get(LOG_POSITION);
            if let Some(position) = position.and_then(|p| p.to_str().ok()?.parse().ok()) {
                self.seen.fetch_max(position, Ordering::Relaxed);
            }
            return Ok(response);
        }
        let retry_after = retry_after(&response);
        Err((refusal(response).await, retry_after))
    }
}

/// Why a call brought nothing, and when the server wants to be asked again.
type Failed = (ClientError, Option<Duration>);

/// The server did not look further than at the key.
fn is_key_unknown((error, _): &Failed) -> bool {
    match error {
        ClientError::Problem(problem) => problem.status == 401,
        ClientError::Transport(_)
        | ClientError::Unexpected { .. }
        | ClientError::Digest { .. }
        | ClientError::File { .. }
        | ClientError::Url(..)
        | ClientError::Json(_)
        | ClientError::Stream(_) => false,
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?;
    seconds.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

async fn refusal(response: Response) -> ClientError {
    let status = response.status().as_u16();
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(e) => return ClientError::Transport(e),
    };
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => ClientError::Unexpected {
            status,
            reason: "it is no problem document".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_as_long_as_a_slow_line_takes_for_the_body() {
        let call = Call::put("/v1/blobs/x");
        assert_eq!(call.silence(0), READ_TIMEOUT);
        assert_eq!(call.silence(UPLOAD_BYTES_S_MIN - 1), READ_TIMEOUT);
        let gibibyte = READ_TIMEOUT + Duration::from_secs(16_384);
        assert_eq!(call.silence(1 << 30), gibibyte);
        assert_eq!(call.patient().silence(0), PATIENT_READ_TIMEOUT);
    }
}
