//! Inclusion and consistency proofs, RFC 6962 sections 2.1.1 and 2.1.2: their verification, as pure functions.

use crate::merkle::{Frontier, Hash};

/// Most hashes in a proof: one a level of a tree of 2^64 leaves, and one more in a consistency proof.
pub const PROOF_HASHES_MAX: usize = 65;

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("a tree of {size} entries has no entry {index}")]
    NotInTree { index: u64, size: u64 },
    #[error("a tree of {to} entries does not continue one of {from}")]
    Shrunken { from: u64, to: u64 },
    #[error("the proof does not lead to the root: entry, proof or root was changed")]
    Mismatch,
}

/// Verifies that the tree of `size` leaves with `root` has `leaf` (an entry's [`crate::merkle::leaf_hash`]) at `index`.
///
/// # Errors
/// [`ProofError::NotInTree`], [`ProofError::Mismatch`].
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: Hash,
    proof: &[Hash],
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NotInTree { index, size });
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Mismatch);
    }
    tlog_tiles::check_record(&foreign(proof), size, theirs(root), index, theirs(leaf))
        .map_err(|_| ProofError::Mismatch)
}

/// Verifies that the tree of `to` leaves with `to_root` begins with the tree of `from` leaves with `from_root`.
///
/// # Errors
/// [`ProofError::Shrunken`], [`ProofError::Mismatch`].
pub fn verify_consistency(
    (from, from_root): (u64, Hash),
    (to, to_root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::Shrunken { from, to });
    }
    if from == 0 {
        // Every tree begins with the empty one, and there is nothing to prove.
        let is_empty = from_root == Frontier::default().root();
        let holds = is_empty && proof.is_empty() && (to > 0 || to_root == from_root);
        return holds.then_some(()).ok_or(ProofError::Mismatch);
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Mismatch);
    }
    tlog_tiles::check_tree(
        &foreign(proof),
        to,
        theirs(to_root),
        from,
        theirs(from_root),
    )
    .map_err(|_| ProofError::Mismatch)
}

pub(super) fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn foreign(proof: &[Hash]) -> Vec<tlog_tiles::Hash> {
    proof.iter().map(|hash| theirs(*hash)).collect()
}
