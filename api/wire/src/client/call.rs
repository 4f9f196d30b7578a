//! One call: built, sent, repeated where that is safe, and its answer read.

use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use reqwest::{Method, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::io::ReaderStream;

use super::{Client, ClientError};
use crate::{IDEMPOTENCY_KEY, LOG_POSITION, problem::Problem, secret::Secret};

/// Attempts of one call.
const ATTEMPTS_MAX: u32 = 5;
/// Wait before the second attempt; doubles with each further one (0.1, 0.2, 0.4, 0.8 s).
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait that a server's Retry-After may ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Longest silence before the answer to a patient call: a module waits for two minutes until it is judged, and for as long while it is.
const PATIENT_READ_TIMEOUT: Duration = Duration::from_secs(300);

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
            tracing::debug!(path = call.path, attempt, %error, "repeating the call");
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
        let http = if call.is_patient {
            // Such calls are few: one may well have connections of its own.
            super::http(&self.base_url, PATIENT_READ_TIMEOUT).map_err(plain)?
        } else {
            self.http.clone()
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
        request = match &call.body {
            Body::Empty => request,
            Body::Json(json) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(json.clone()),
            Body::Bytes(bytes) => request
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(bytes.clone()),
            Body::File(path) => {
                let opened = tokio::fs::File::open(path).await;
                let file = opened.map_err(|e| plain(ClientError::file(path, e)))?;
                let length = file.metadata().await.map(|m| m.len());
                let length = length.map_err(|e| plain(ClientError::file(path, e)))?;
                request
                    .header(header::CONTENT_TYPE, "application/octet-stream")
                    .header(header::CONTENT_LENGTH, length)
                    .body(reqwest::Body::wrap_stream(ReaderStream::new(file)))
            }
        };
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
