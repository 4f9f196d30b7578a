//! The log's end. Entries themselves travel as NDJSON, byte for byte as they are stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The end of the log. `GET /v1/log/head`, scope `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogHead {
    /// Number of entries, which is the next position.
    pub size: String,
    /// The RFC 6962 Merkle root over them, in hex.
    pub root: String,
    /// SHA-256 of the state's canonical JSON at `size`, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<String>,
}
