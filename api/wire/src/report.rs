//! What a node says of a run, and the digest it seals it with.
//!
//! `commitment = SHA-256("aevir.report/1\n" || JCS(report))`; the node signs
//! `"aevir.commit/1\n" || commitment` (32 raw bytes) with its Ed25519 key (RFC 8032).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::contents::{Artifact, BlobRef};

/// The result of one run, as the node reveals it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub task: String,
    pub assignment: String,
    pub node: String,
    /// In the order of their names.
    pub outputs: Vec<Artifact>,
    /// Digest and size of the inline result's canonical JSON (see [`canonical`]).
    pub result: BlobRef,
    /// The last value of each metric, in the order of their names.
    pub metrics: Vec<MetricValue>,
    pub usage: Usage,
    /// Root over the dispatches of the run; there exactly when the task uses the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_root: Option<String>,
    /// `cpu`, or the GPU adapter's class.
    pub class: String,
    /// The checkpoint that the lease said to resume from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<String>,
    /// 256 random bits in hex, which keep the commitment from being guessed.
    pub salt: String,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricValue {
    pub name: String,
    pub step: String,
    /// In millionths of the metric's unit.
    pub value: String,
}

/// What a run used; counts as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub fuel: String,
    pub wall_ms: String,
    pub peak_memory_bytes: String,
    pub gpu_dispatches: String,
    pub gpu_workgroups: String,
    pub gpu_bytes_in: String,
    pub gpu_bytes_out: String,
    pub gpu_time_ns: String,
}

impl Default for Usage {
    fn default() -> Self {
        let zero = || "0".to_owned();
        Self {
            fuel: zero(),
            wall_ms: zero(),
            peak_memory_bytes: zero(),
            gpu_dispatches: zero(),
            gpu_workgroups: zero(),
            gpu_bytes_in: zero(),
            gpu_bytes_out: zero(),
            gpu_time_ns: zero(),
        }
    }
}

impl Report {
    /// The digest that the node commits to.
    ///
    /// # Errors
    /// Never for a report, which is made of strings; the serialiser's signature says otherwise.
    pub fn commitment(&self) -> Result<[u8; 32], serde_json::Error> {
        let json = serde_json_canonicalizer::to_vec(self)?;
        let mut hash = Sha256::new();
        hash.update(b"aevir.report/1\n");
        hash.update(&json);
        Ok(hash.finalize().into())
    }
}

/// The bytes that a node signs for a commitment.
pub fn commit_message(commitment: [u8; 32]) -> Vec<u8> {
    [b"aevir.commit/1\n".as_slice(), &commitment].concat()
}

/// The bytes that a node's key signs to hand over to another one, and to another API key with this SHA-256.
pub fn rotation_message(node: &str, new_key: [u8; 32], key_hash: [u8; 32]) -> Vec<u8> {
    [
        b"aevir.rotate/1\n".as_slice(),
        node.as_bytes(),
        b"\n",
        &new_key,
        &key_hash,
    ]
    .concat()
}

/// The canonical bytes (RFC 8785) of an inline result; [`Report::result`] names their digest and size.
///
/// # Errors
/// When a number has no canonical form.
pub fn canonical(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    serde_json_canonicalizer::to_vec(value)
}

/// SHA-256 in lower-case hex: how blobs are named.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
