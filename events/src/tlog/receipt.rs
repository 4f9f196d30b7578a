//! Receipts that an entry is in the log: C2SP tlog-proof, <https://c2sp.org/tlog-proof>.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 17
//! <hash of the inclusion proof, base64, one a line>
//!
//! <checkpoint, a signed note>
//! ```

use std::{fmt, str::FromStr};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{
    checkpoint::{Checkpoint, CheckpointError},
    key::VerifierKey,
    proof::{PROOF_HASHES_MAX, ProofError, verify_inclusion},
};
use crate::merkle::{Hash, leaf_hash};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// An inclusion proof with the checkpoint that it leads to: together with the entry's bytes and the log's key it is
/// checkable alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What an application adds; not covered by the proof.
    pub extra: Option<Vec<u8>>,
    /// The entry's position.
    pub index: u64,
    /// From the leaf up.
    pub hashes: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    #[error("line {line} of the receipt is not as https://c2sp.org/tlog-proof says")]
    Malformed { line: usize },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl TlogProof {
    /// Verifies that the log with this key has `entry` (its exact bytes) at [`TlogProof::index`], and answers the
    /// checkpoint that says so.
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`], [`TlogProofError::Proof`].
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), key)?;
        let leaf = leaf_hash(entry);
        verify_inclusion(
            self.index,
            checkpoint.size,
            leaf,
            &self.hashes,
            checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let malformed = |line| TlogProofError::Malformed { line };
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed(1))?;
        let mut lines = (1..).zip(head.split('\n'));
        if lines.next().map(|(_, line)| line) != Some(HEADER) {
            return Err(malformed(1));
        }
        let (mut at, mut line) = lines.next().ok_or(malformed(2))?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = Some(BASE64_STANDARD.decode(encoded).map_err(|_| malformed(at))?);
            (at, line) = lines.next().ok_or(malformed(at + 1))?;
        }
        let index = line
            .strip_prefix("index ")
            .and_then(|digits| {
                digits
                    .parse::<u64>()
                    .ok()
                    .filter(|n| n.to_string() == digits)
            })
            .ok_or(malformed(at))?;
        let mut hashes = Vec::new();
        for (at, line) in lines {
            let hash = BASE64_STANDARD.decode(line).ok();
            let hash = hash.and_then(|bytes| Hash::from_slice(&bytes));
            hashes.push(hash.ok_or(malformed(at))?);
            if hashes.len() > PROOF_HASHES_MAX {
                return Err(malformed(at));
            }
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}
