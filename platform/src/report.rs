//! What a node says of a run: the sealed commitment first, the report behind it later.
//!
//! `commitment = SHA-256("aevir.report/1\n" || JCS(report))`, and the node signs
//! `"aevir.commit/1\n" || commitment` with its Ed25519 key (RFC 8032). The 256-bit salt in the report keeps the
//! commitment from being guessed, and the node's and assignment's ids in it keep it from being copied. The one
//! signature covers the report too, for the commitment binds it.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{Count, MicroUnits},
    definition::Runtime,
    digest::Digest,
    hexbytes::Hex,
    ids::{AssignmentId, NodeId, TaskId},
    state::HardwareClass,
};

const REPORT_LABEL: &str = "aevir.report/1";
const COMMIT_LABEL: &[u8] = b"aevir.commit/1\n";

/// A node's Ed25519 public key.
pub type NodeKey = Hex<32>;

/// What the report of a run says of its hardware: `cpu`, or the class of the adapter that it was leased for, and the profile beside it
/// where the run can't be repeated bit by bit (`cpu+fast/1`).
pub fn class_of_run(hardware: &HardwareClass, runtime: Runtime) -> String {
    let class = hardware.gpu().unwrap_or("cpu");
    match runtime {
        Runtime::Reproducible => class.to_owned(),
        Runtime::Fast => format!("{class}+{}", runtime.name()),
    }
}

/// The result of one run, as the node reveals it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub task: TaskId,
    pub assignment: AssignmentId,
    pub node: NodeId,
    /// In the order of their names.
    pub outputs: Vec<Artifact>,
    /// The inline JSON result, as a blob.
    pub result: BlobRef,
    /// The last value of each metric, in the order of their names.
    pub metrics: Vec<MetricValue>,
    pub usage: Usage,
    /// Root over the dispatches of the run; absent without a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_root: Option<Digest>,
    /// The class of hardware that it ran on: `cpu` or the adapter's class.
    pub class: String,
    /// The checkpoint that the run resumed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<Digest>,
    pub salt: Hex<32>,
}

/// A blob's name and size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    pub digest: Digest,
    pub size: Count,
}

/// A named blob: an input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub name: String,
    pub digest: Digest,
    /// In bytes.
    pub size: Count,
}

/// The last value of a metric that a run reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricValue {
    pub name: String,
    pub step: Count,
    pub value: MicroUnits,
}

/// What a run used. Only fuel, workgroups, dispatches and bytes can be checked by a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub fuel: Count,
    pub wall_ms: Count,
    pub peak_memory_bytes: Count,
    pub gpu_dispatches: Count,
    pub gpu_workgroups: Count,
    pub gpu_bytes_in: Count,
    pub gpu_bytes_out: Count,
    pub gpu_time_ns: Count,
}

impl Report {
    /// The digest that the node commits to.
    pub fn commitment(&self) -> Digest {
        // A report is made of structs with string keys, which always have a JSON form.
        Digest::of_json(REPORT_LABEL, self).unwrap_or(Digest([0; 32]))
    }

    /// What must be equal for two bitwise-compared results to agree: outputs, result and metrics, and for a run
    /// without a GPU the fuel, which a deterministic module uses in equal measure everywhere.
    pub fn agreement_key(&self) -> Digest {
        let fuel = self.trace_root.is_none().then_some(self.usage.fuel);
        let key = (&self.outputs, self.result, &self.metrics, fuel);
        Digest::of_json("aevir.agreement/1", &key).unwrap_or(Digest([0; 32]))
    }

    /// The same without the fuel: a run that goes on from a checkpoint burns only what was left of it.
    pub fn work_key(&self) -> Digest {
        let key = (&self.outputs, self.result, &self.metrics);
        Digest::of_json("aevir.work/1", &key).unwrap_or(Digest([0; 32]))
    }
}

/// The bytes that a node signs for a commitment.
pub fn commit_message(commitment: Digest) -> Vec<u8> {
    [COMMIT_LABEL, &commitment.0[..]].concat()
}

/// A commitment whose signature was verified: the only ways to have one are
/// [`SignedCommitment::check`] and to sign it oneself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SignedCommitment {
    commitment: Digest,
    signature: Hex<64>,
    key: NodeKey,
}

/// A signature that does not belong to this key and commitment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the node's key and this commitment")]
pub struct BadSignature;

impl SignedCommitment {
    /// Verifies `signature` strictly (RFC 8032, no small-order keys). Costs about 0.15 ms, which is why it
    /// happens before the single writer and not in it.
    ///
    /// # Errors
    /// When the key is no point of the curve or the signature does not verify.
    pub fn check(
        key: NodeKey,
        commitment: Digest,
        signature: Hex<64>,
    ) -> Result<Self, BadSignature> {
        let public = VerifyingKey::from_bytes(&key.0).map_err(|_| BadSignature)?;
        public
            .verify_strict(
                &commit_message(commitment),
                &Signature::from_bytes(&signature.0),
            )
            .map_err(|_| BadSignature)?;
        Ok(Self {
            commitment,
            signature,
            key,
        })
    }

    /// Signs a commitment: a signature made here needs no verification.
    pub fn sign(key: &SigningKey, commitment: Digest) -> Self {
        Self {
            commitment,
            signature: Hex(key.sign(&commit_message(commitment)).to_bytes()),
            key: Hex(key.verifying_key().to_bytes()),
        }
    }

    pub fn commitment(&self) -> Digest {
        self.commitment
    }

    pub fn signature(&self) -> Hex<64> {
        self.signature
    }

    /// The key it was verified with.
    pub fn key(&self) -> NodeKey {
        self.key
    }
}
