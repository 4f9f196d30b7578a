//! Errors as the caller sees them: a status, a stable code and a sentence that says what to do.
//!
//! What the machine refused keeps the machine's code; what is refused before it has one of [`CODES`]. Both kinds
//! are listed in `docs/errors.md`, which a test writes from here. A failure inside the server is logged once,
//! here, and answered as `internal` without its reason.

use aevir_events::SubmitError;
use aevir_platform::rejection::{Kind, Rejection};
use aevir_wire::{PROBLEM_JSON, Problem};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Seconds after which a caller that found the queue full or the leader gone may try again.
const RETRY_AFTER_S: u64 = 1;
/// Makes a code the URI that RFC 9457 wants as a problem's type.
const TYPE_PREFIX: &str = "urn:aevir:problem:";

macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $meaning:literal;)+) => {
        /// A reason for which this crate, rather than the machine, refuses a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name),+
        }

        impl Code {
            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status it is answered with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }
        }

        /// Every code of this crate, with its status and meaning.
        pub const CODES: &[(&str, StatusCode, &str)] = &[$(($code, StatusCode::$status, $meaning)),+];
    };
}

codes! {
    JsonInvalid = "json-invalid", BAD_REQUEST, "The body is not JSON: correct it at the place named in the detail.";
    FieldInvalid = "field-invalid", UNPROCESSABLE_ENTITY, "A field of the body is unknown, missing or of the wrong kind: `pointer` names it.";
    QueryInvalid = "query-invalid", BAD_REQUEST, "A query parameter is unknown or of the wrong kind: correct it.";
    RangeInvalid = "range-invalid", RANGE_NOT_SATISFIABLE, "The range lies outside the object: ask for one inside its size.";
    BodyBroken = "body-broken", BAD_REQUEST, "The body ended early or came too slowly: send it again.";
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is larger than this route takes: the detail names the limit.";
    DigestMismatch = "digest-mismatch", UNPROCESSABLE_ENTITY, "The bytes have another digest than the request names: nothing was stored; check the file and send it again.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "No valid API key came with the request: send `Authorization: Bearer aevk_...`.";
    ScopeMissing = "scope-missing", FORBIDDEN, "The API key lacks the scope that this route needs: use a key that has it.";
    ScopeInvalid = "scope-invalid", UNPROCESSABLE_ENTITY, "A scope does not exist or can't be given by this key: a key gives at most what it has.";
    NotANode = "not-a-node", FORBIDDEN, "The API key belongs to no node: use the one that the node registered with.";
    UnknownRoute = "unknown-route", NOT_FOUND, "There is no such route: see /openapi.json.";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The route does not have this method: see /openapi.json.";
    IdempotencyConflict = "idempotency-conflict", UNPROCESSABLE_ENTITY, "The idempotency key was used before with another request: use a fresh one for each new request.";
    IdempotencyKeyInvalid = "idempotency-key-invalid", BAD_REQUEST, "An idempotency key has 1 to 128 visible ASCII characters.";
    NotAComponent = "not-a-component", UNPROCESSABLE_ENTITY, "The upload is no WebAssembly component: build it as one (see the guide to tasks).";
    WrongWorld = "wrong-world", UNPROCESSABLE_ENTITY, "The component fits none of the worlds `task`, `check` and `comparator`: the detail says what is missing.";
    ForbiddenImport = "forbidden-import", UNPROCESSABLE_ENTITY, "The component imports what no node offers: remove the import that the detail names.";
    ModuleTooComplex = "module-too-complex", UNPROCESSABLE_ENTITY, "The component takes too long or too much memory to check: make it smaller.";
    ModuleBreaksCompiler = "module-breaks-compiler", UNPROCESSABLE_ENTITY, "The compiler fails on the component: the detail says how; build it in another way, and tell the server's operator, for it is a compiler's fault.";
    JudgingQuota = "judging-quota", TOO_MANY_REQUESTS, "Judging this account's uploads has taken as much processor time as one account may have: wait for the time in Retry-After.";
    ResultNotOpen = "result-not-open", CONFLICT, "The result opens once the task has settled, or its own bound was not met: wait, or see why the task ended.";
    OutputUnknown = "unknown-output", NOT_FOUND, "The task's result has no output of this name: see the task's verdict.";
    InputUnknown = "unknown-input", NOT_FOUND, "The assignment has no input of this name: see its lease.";
    CheckpointUnknown = "unknown-checkpoint", NOT_FOUND, "The assignment does not resume from a checkpoint.";
    OutputMissing = "output-missing", CONFLICT, "An output that the node brought is not in the object store any more: upload it again, then reveal.";
    OutputLimit = "output-limit", PAYLOAD_TOO_LARGE, "The outputs of this assignment together pass the task's limit: report the failure `limit`.";
    UnknownChallenge = "unknown-challenge", NOT_FOUND, "The node has no such challenge, or its time is over: go on without; the server asks again.";
    ChallengeAnswered = "challenge-answered", CONFLICT, "The challenge has another root already: open that one.";
    BadSignature = "bad-signature", FORBIDDEN, "The signature does not fit the node's registered key and the commitment: sign `aevir.commit/1`, a line feed and the 32 bytes of the commitment.";
    TileUnknown = "unknown-tile", NOT_FOUND, "This is not in the published log, or no name of a tile: the checkpoint says how far it goes.";
    NotPublished = "not-published", SERVICE_UNAVAILABLE, "The log is not published so far at the moment: try again; if it stays so, `aevir log head` says why.";
    NotInLog = "not-in-log", UNPROCESSABLE_ENTITY, "The log has no such entry or size: ask for what lies within it.";
    ReceiptNotReady = "receipt-not-ready", CONFLICT, "There is no receipt before the task has ended: wait for that.";
    ObjectLost = "object-lost", INTERNAL_SERVER_ERROR, "A blob that the log names is not in the object store: its operator must restore it.";
    TooManyChanges = "too-many-changes", TOO_MANY_REQUESTS, "The node or the account writes into the log more often than it may: wait for the time in Retry-After; the detail says of what there was too much.";
    TooManyQuotes = "too-many-quotes", TOO_MANY_REQUESTS, "The account asks for more quotes, or more often why tasks wait, than it may: wait for the time in Retry-After.";
    Busy = "busy", SERVICE_UNAVAILABLE, "Too many requests wait to be decided: try again after the time in Retry-After.";
    NotLeader = "not-leader", SERVICE_UNAVAILABLE, "Another replica leads the log now: try again.";
    LogUnavailable = "log-unavailable", SERVICE_UNAVAILABLE, "The log can't be written at the moment and nothing was changed: try again.";
    OutcomeUnknown = "outcome-unknown", SERVICE_UNAVAILABLE, "The log was lost while writing: repeat the request with the same idempotency key, or look whether it took effect.";
    ObjectsUnavailable = "objects-unavailable", SERVICE_UNAVAILABLE, "The object store does not answer: try again.";
    InspectorUnavailable = "inspector-unavailable", SERVICE_UNAVAILABLE, "The module can't be checked at the moment: try again.";
    ViewsBehind = "views-behind", SERVICE_UNAVAILABLE, "The list does not show `min_position` yet: try again; the detail says where it stopped, if it did.";
    ViewsBuilding = "views-building", SERVICE_UNAVAILABLE, "The list is being built from the log and has not been level with it yet: try again; the detail says how far it is.";
    ViewsUnavailable = "views-unavailable", SERVICE_UNAVAILABLE, "The database that lists are served from does not answer: try again.";
    UnknownProjection = "unknown-projection", NOT_FOUND, "There is no projection of this name: see /v1/projections.";
    ProjectionNewer = "projection-newer", CONFLICT, "A newer server keeps this projection, so this one does not rebuild it: ask the newer server.";
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "The server can't write to its log: the detail says what it is doing.";
    ShuttingDown = "shutting-down", SERVICE_UNAVAILABLE, "The server is stopping: try again, or another replica.";
    TooLargeForLog = "too-large-for-log", UNPROCESSABLE_ENTITY, "What the request would record does not fit one entry of the log: make it smaller.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server failed: its log says why.";
}

/// The status that a rejection of the machine is answered with.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Payment => StatusCode::PAYMENT_REQUIRED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
    }
}

/// A refused request. The reply is built by `IntoResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    pointer: Option<String>,
    /// Seconds after which it may be tried again, where they are known.
    after_s: Option<u64>,
}

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            code: code.name(),
            detail: detail.into(),
            pointer: None,
            after_s: None,
        }
    }

    /// It may be tried again after so many seconds.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.after_s = Some(seconds);
        self
    }

    /// Names the place in the request's body.
    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Says it in other words, for a name that could not even be read.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// A failure of this server, logged with its reason and answered without.
    pub(crate) fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "{what}");
        Self::new(
            Code::Internal,
            "the server failed at this; its operator finds the reason in its log",
        )
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Seconds after which it may be tried again, where that is known.
    #[cfg(test)]
    pub(crate) fn after_s(&self) -> Option<u64> {
        self.after_s
    }

    /// As it is told, by itself or as one answer of several.
    pub(crate) fn problem(self) -> Problem {
        Problem {
            kind: format!("{TYPE_PREFIX}{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
            pointer: self.pointer,
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let pointer = if let Rejection::DefinitionInvalid { pointer, .. } = &rejection {
            Some(pointer.clone())
        } else {
            None
        };
        Self {
            status: status_of(rejection.kind()),
            code: rejection.code(),
            detail: rejection.to_string(),
            pointer,
            after_s: None,
        }
    }
}

impl From<SubmitError<Rejection>> for ApiError {
    fn from(error: SubmitError<Rejection>) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::Conflict => Self::new(Code::IdempotencyConflict, detail),
            SubmitError::Unwritable(_) => Self::new(Code::TooLargeForLog, detail),
            SubmitError::Busy => Self::new(Code::Busy, detail),
            SubmitError::NotLeader => Self::new(Code::NotLeader, detail),
            SubmitError::Unavailable => Self::new(Code::LogUnavailable, detail),
            SubmitError::Unknown => Self::new(Code::OutcomeUnknown, detail),
            SubmitError::Stopped => Self::new(Code::ShuttingDown, detail),
            SubmitError::Internal(_) => Self::internal("a command failed", &error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let code = self.code;
        let busy = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
        let after_s = self.after_s.or(busy);
        // A problem is made of strings and a number, which always have a JSON form.
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(after_s) = after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after_s));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(RefusalCode(code));
        response
    }
}

/// The code of a refusal, for the request's trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusalCode(pub(crate) &'static str);
