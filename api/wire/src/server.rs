//! What the server says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process answers. `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`; `degraded` while the log can't be published, or a projection has stopped: its lists show the past, and say
    /// which.
    pub status: String,
    /// How the log is published: `publishing`, `failing`, `refused` or `ended`; `aevir log head` says more.
    pub publishing: String,
    /// By name: `live`, `building`, `failed`, or `unknown` where the views' database does not answer.
    pub projections: std::collections::BTreeMap<String, String>,
}

/// Whether requests that write can be served. `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    /// What the log's writer is doing: `leading`, `recovering`, `deposed`, `stopped` or `failed`.
    pub log: String,
    /// Number of entries in the log.
    pub size: String,
}

/// `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The server's version.
    pub version: String,
    /// The API's version, as in the paths.
    pub api: String,
}
