//! The log's end, its checkpoints, proofs and receipts. Entries themselves travel as NDJSON, byte for byte as they are stored.

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
    /// What is published of it.
    pub publishing: Publishing,
}

/// How the log is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Publishing {
    /// `publishing`; `failing` while it is tried again; `refused` when nothing will be signed any more until an operator
    /// has mended the cause; `ended` when the server stops or another one leads.
    pub state: String,
    /// Size of the newest checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Why it fails or is refused, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What clients pin. `GET /v1/log/key`, open to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogKey {
    /// The log's name.
    pub origin: String,
    /// The public key as C2SP signed-note writes it: `<origin>+<id>+<base64>`.
    pub key: String,
    /// Whether everybody may read the entries.
    pub public: bool,
}

/// A signed checkpoint. `GET /v1/log/checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogCheckpoint {
    /// Number of entries that it covers.
    pub size: String,
    /// The RFC 6962 Merkle root over them, in hex.
    pub root: String,
    /// The signed note, as `GET /log/checkpoint` has it.
    pub note: String,
}

/// That an entry is in the log. `GET /v1/log/inclusion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InclusionProof {
    pub index: String,
    /// Of the tree that the proof is for.
    pub size: String,
    /// Its root, in hex.
    pub root: String,
    /// The RFC 6962 audit path, from the leaf up, in hex.
    pub hashes: Vec<String>,
    /// That the tree is the beginning of the checkpoint's; empty where it is the same.
    pub consistency: Vec<String>,
    pub checkpoint: LogCheckpoint,
}

/// That a tree continues another one. `GET /v1/log/consistency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsistencyProof {
    pub from: String,
    pub to: String,
    /// Roots of both, in hex, as the published tiles have them: compare with what you keep.
    pub from_root: String,
    pub to_root: String,
    /// The RFC 6962 consistency proof, in hex.
    pub hashes: Vec<String>,
}

/// That a task's settlement, or how else it ended, is in the log; checkable with the log's key alone.
/// `GET /v1/tasks/{id}/receipt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskReceipt {
    pub task: String,
    /// The log's entry, byte for byte.
    pub entry: String,
    /// C2SP tlog-proof: index, inclusion proof and signed checkpoint.
    pub proof: String,
}
