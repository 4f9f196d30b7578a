//! Why a call failed.

use std::path::PathBuf;

use crate::problem::Problem;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's answer, with its stable code.
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("the server can't be reached, or the connection broke")]
    Transport(#[source] reqwest::Error),
    /// Something between client and server answered, or the server is of another version.
    #[error("the answer has status {status} and is not what this route gives: {reason}")]
    Unexpected { status: u16, reason: String },
    #[error("the download has digest {found}, and {expected} was asked for")]
    Digest { expected: String, found: String },
    #[error("`{path}` can't be read or written")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{0}` is not a server's address: {1}")]
    Url(String, String),
    #[error("the request can't be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the stream broke")]
    Stream(#[source] std::io::Error),
}

impl ClientError {
    /// The server's code, where the server answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            Self::Transport(_)
            | Self::Unexpected { .. }
            | Self::Digest { .. }
            | Self::File { .. }
            | Self::Url(..)
            | Self::Json(_)
            | Self::Stream(_) => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem(problem) => is_transient_status(problem.status),
            Self::Unexpected { status, .. } => is_transient_status(*status),
            Self::Transport(error) => !error.is_builder(),
            Self::Stream(_) => true,
            // The transfer may have been damaged on its way.
            Self::Digest { .. } => true,
            Self::File { .. } | Self::Url(..) | Self::Json(_) => false,
        }
    }

    pub(super) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// Too many requests, bad gateway, unavailable, gateway time-out.
fn is_transient_status(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}
