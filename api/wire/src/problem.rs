//! Errors as the server sends them (RFC 9457, problem details).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused. `code` is stable; `docs/errors.md` lists all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A reference to the code's documentation.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    pub status: u16,
    /// The stable name of the error.
    pub code: String,
    /// A sentence that says what to do.
    pub detail: String,
    /// Where in the request's JSON body the mistake is (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)?;
        match &self.pointer {
            Some(pointer) => write!(f, " at `{pointer}`"),
            None => Ok(()),
        }
    }
}
