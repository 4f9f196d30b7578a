//! What nodes bring of a sample before its verdict, closed: the log holds it, so that nothing else is needed to judge, and nobody but
//! the leaders can read it, so that no later replica can copy it (`docs/economics.md`, Closed until the verdict).
//!
//! Each assignment has a key, which follows from the leaders' secret; with the verdict it is disclosed, and everybody can open what was
//! closed. A keystream of HMAC-SHA-256 in counter mode closes it; a key closes one content, so that no part of a stream is used twice.
//! What binds the node is not this but its commitment, which the content must fit.

use std::{collections::BTreeMap, sync::Arc};

use aevir_events::LeaderSecret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use sha2::Sha256;

use crate::{
    digest::Digest,
    event::{AssignmentRevealed, CheckResult},
    hexbytes::Hex,
    ids::{AssignmentId, TaskId},
    report::{BlobRef, Report},
    state::{Assignment, Stage},
};

/// The key of one assignment.
pub type RevealKey = Hex<32>;

/// Contents are filled up to a multiple of so many bytes: their length tells next to nothing of them.
const FILL_BYTES: usize = 1_024;
/// Bytes in one event: in base64, and with all around it, they fit an entry.
const PART_BYTES_MAX: usize = 32 * FILL_BYTES;

/// What is closed: all that `assignment.revealed` will say, but for the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    pub(crate) report: Arc<Report>,
    pub(crate) checks: Vec<CheckResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<Value>,
}

/// Bytes that nobody can read without the key.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Closed(Vec<u8>);

impl Closed {
    /// Adds a further part.
    pub(crate) fn append(&mut self, part: &Self) {
        self.0.extend_from_slice(&part.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Closed({} bytes)", self.0.len())
    }
}

impl Serialize for Closed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Closed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(&text);
        bytes.map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Closed {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Closed".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "contentEncoding": "base64"})
    }
}

/// The key of an assignment, as every leader with the same secret derives it.
pub(crate) fn key_of(leader: &LeaderSecret, assignment: AssignmentId) -> RevealKey {
    let mut mac = keyed(&leader.0);
    mac.update(b"aevir.reveal-key/1\n");
    mac.update(assignment.to_string().as_bytes());
    Hex(mac.finalize().into_bytes().into())
}

/// Closes a content, in as many parts as it needs.
pub(crate) fn close(key: &RevealKey, content: &Content) -> Vec<Closed> {
    // Structs with string keys always have a JSON form.
    let mut bytes = serde_json_canonicalizer::to_vec(content).unwrap_or_default();
    // Spaces after a JSON text mean nothing.
    bytes.resize(bytes.len().next_multiple_of(FILL_BYTES), b' ');
    apply_stream(key, &mut bytes);
    let parts = bytes.chunks(PART_BYTES_MAX);
    parts.map(|part| Closed(part.to_vec())).collect()
}

/// The content; `None` with another key.
pub(crate) fn open(key: &RevealKey, closed: &Closed) -> Option<Content> {
    let mut bytes = closed.0.clone();
    apply_stream(key, &mut bytes);
    serde_json::from_slice(&bytes).ok()
}

/// Each 32 bytes are combined with `HMAC(key, "aevir.reveal-stream/1\n" || number of the block)`.
fn apply_stream(key: &RevealKey, bytes: &mut [u8]) {
    let stream = keyed(&key.0);
    for (number, block) in (0u32..).zip(bytes.chunks_mut(32)) {
        let mut mac = stream.clone();
        mac.update(b"aevir.reveal-stream/1\n");
        mac.update(&number.to_be_bytes());
        let pad = mac.finalize().into_bytes();
        block
            .iter_mut()
            .zip(pad)
            .for_each(|(byte, pad)| *byte ^= pad);
    }
}

/// An output as the log has it before the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedOutput {
    /// `HMAC(key, "aevir.output/1\n" || digest)`: tells nothing of the bytes.
    pub seal: Hex<32>,
    /// The size in bytes, big-endian, combined with the first bytes of `HMAC(key, "aevir.output-size/1\n" || seal)`.
    pub size: Hex<8>,
}

impl ClosedOutput {
    pub(crate) fn of(key: &RevealKey, blob: BlobRef) -> Self {
        let seal = Self::seal(key, blob.digest);
        let size = combine(blob.size.0.to_be_bytes(), size_pad(key, seal));
        Self {
            seal,
            size: Hex(size),
        }
    }

    pub(crate) fn seal(key: &RevealKey, digest: Digest) -> Hex<32> {
        let mut mac = keyed(&key.0);
        mac.update(b"aevir.output/1\n");
        mac.update(&digest.0);
        Hex(mac.finalize().into_bytes().into())
    }

    /// In bytes.
    fn size(&self, key: &RevealKey) -> u64 {
        u64::from_be_bytes(combine(self.size.0, size_pad(key, self.seal)))
    }
}

fn size_pad(key: &RevealKey, seal: Hex<32>) -> [u8; 8] {
    let mut mac = keyed(&key.0);
    mac.update(b"aevir.output-size/1\n");
    mac.update(&seal.0);
    let pad: [u8; 32] = mac.finalize().into_bytes().into();
    pad.first_chunk().copied().unwrap_or_default()
}

fn combine(one: [u8; 8], other: [u8; 8]) -> [u8; 8] {
    (u64::from_be_bytes(one) ^ u64::from_be_bytes(other)).to_be_bytes()
}

impl Assignment {
    /// Bytes of what its node uploaded under it, but for one blob: that can be brought again.
    pub fn bytes_beside(&self, digest: Digest, leader: &LeaderSecret) -> u64 {
        let key = key_of(leader, self.id);
        let seal = ClosedOutput::seal(&key, digest);
        let open = self.uploads.iter().filter(|b| b.digest != digest);
        let closed = self.closed_outputs.iter().filter(|o| o.seal != seal);
        let sizes = open.map(|b| b.size.0).chain(closed.map(|o| o.size(&key)));
        sizes.fold(0, u64::saturating_add)
    }
}

/// Who can open what is closed.
#[derive(Debug)]
pub(crate) enum Keys<'a> {
    /// A leader.
    Leader(&'a LeaderSecret),
    /// Whoever reads the log.
    Told(Told),
}

/// What a batch of the log tells of what is closed.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The keys that it discloses.
    pub(crate) keys: BTreeMap<AssignmentId, RevealKey>,
    /// The results that are to be compared from here on, by task: why these, shows once they are opened.
    pub(crate) compared: BTreeMap<TaskId, Vec<(AssignmentId, AssignmentId)>>,
}

impl Keys<'_> {
    pub(crate) fn of(&self, assignment: AssignmentId) -> Option<RevealKey> {
        match self {
            Self::Leader(secret) => Some(key_of(secret, assignment)),
            Self::Told(told) => told.keys.get(&assignment).copied(),
        }
    }

    /// The results that are to be compared, where they are known by the log alone.
    pub(crate) fn compared(&self, task: TaskId) -> Option<&[(AssignmentId, AssignmentId)]> {
        match self {
            Self::Leader(_) => None,
            Self::Told(told) => told.compared.get(&task).map(Vec::as_slice),
        }
    }

    /// What an assignment's node showed, if it can be opened: a leader with another secret than the one under which it was closed can't.
    pub(crate) fn open(&self, assignment: &Assignment) -> Option<AssignmentRevealed> {
        let Stage::Shown(shown) = &assignment.stage else {
            return None;
        };
        let key = self.of(assignment.id)?;
        let content = open(&key, &shown.closed)?;
        let fits = content.report.commitment() == shown.commitment.digest;
        fits.then_some(AssignmentRevealed {
            report: content.report,
            checks: content.checks,
            published: content.published,
            key: Some(key),
        })
    }
}

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // A key of one block; shorter ones are padded with zeros, so that 32 bytes are as good.
    let mut key = [0; 64];
    key[..32].copy_from_slice(secret);
    Hmac::new(&key.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::amount::Count;

    /// Computed apart, with Python's hmac and hashlib (docs/audit/recompute.py).
    #[test]
    fn agrees_with_another_implementation() {
        let assignment = "01HF7YAT00ASSNGNMENT000001".parse().unwrap();
        let key = key_of(&LeaderSecret([3; 32]), assignment);
        assert_eq!(
            key.to_string(),
            "4105182cc8729f0e259e799ae4e1881cd49085fad341d9570e82c2dc831f3d03"
        );
        let blob = BlobRef {
            digest: Digest([1; 32]),
            size: Count(1_000),
        };
        let output = ClosedOutput::of(&key, blob);
        assert_eq!(
            output.seal.to_string(),
            "ca191c65156f42bfed4f767e9e321d1e06eb666fba5976517f67ac91543b5737"
        );
        assert_eq!(output.size.to_string(), "d062efa909d07d9a");
        assert_eq!(output.size(&key), 1_000);
        let mut bytes = [b'x'; 40];
        apply_stream(&key, &mut bytes);
        assert_eq!(
            hex::encode(bytes),
            "6c6d5bd73424f2861d6fc60207c6684977c02226bcb0fd726141e83e365331ed8558b1afa5367444"
        );
    }

    #[test]
    fn another_key_opens_nothing() {
        let key = Hex([5; 32]);
        let mut bytes = b"{\"report\":".to_vec();
        apply_stream(&key, &mut bytes);
        let closed = Closed(bytes);
        assert_eq!(open(&key, &closed), None, "not a whole content");
        assert_eq!(open(&Hex([6; 32]), &closed), None);
        let text = serde_json::to_string(&closed).unwrap();
        assert_eq!(serde_json::from_str::<Closed>(&text).unwrap(), closed);
    }
}
