//! The tree over a challenge's values: SHA-256 with leaves and nodes told apart as in RFC 6962, over a power of two of leaves.

use sha2::{Digest as _, Sha256};

use super::ChallengeOpening;

/// Values of a leaf.
pub(super) const VALUES_PER_LEAF: u32 = 64;
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: usize = VALUES_PER_LEAF as usize * 4;

type Hash = [u8; 32];

/// The leaf in which a value stands.
pub(super) fn leaf_of(index: u32) -> u32 {
    index / VALUES_PER_LEAF
}

/// The tree over all values.
#[derive(Debug)]
pub struct Tree {
    /// From the leaves to the root.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Over values, four bytes each, as many as a challenge asks for.
    #[must_use]
    pub fn of(values: &[u8]) -> Self {
        let leaves: Vec<Hash> = values.chunks(LEAF_BYTES).map(leaf_hash).collect();
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                alone => alone.first().copied().unwrap_or_default(),
            });
            levels.push(above.collect());
        }
        Self { levels }
    }

    /// The hash over everything.
    #[must_use]
    pub fn root(&self) -> Hash {
        let top = self.levels.last().and_then(|level| level.first());
        top.copied().unwrap_or_default()
    }

    /// The leaf of a value with its path; `None` where there is no such value.
    #[must_use]
    pub fn open(&self, values: &[u8], index: u32) -> Option<ChallengeOpening> {
        let mut at = leaf_of(index) as usize;
        let leaf = values.get(at * LEAF_BYTES..(at + 1) * LEAF_BYTES)?;
        let mut path = Vec::new();
        for level in self.levels.iter().filter(|level| level.len() > 1) {
            path.push(hex::encode(level.get(at ^ 1)?));
            at /= 2;
        }
        let leaf = hex::encode(leaf);
        Some(ChallengeOpening { leaf, path })
    }
}

/// Whether a leaf stands at its place under the root of a tree over so many leaves, a power of two.
pub(super) fn holds(root: &Hash, leaves: u32, at: u32, leaf: &[u8], path: &[Hash]) -> bool {
    if at >= leaves || path.len() as u32 != leaves.trailing_zeros() {
        return false;
    }
    let mut hash = leaf_hash(leaf);
    for (level, beside) in path.iter().enumerate() {
        hash = match at >> level & 1 {
            0 => node_hash(&hash, beside),
            _ => node_hash(beside, &hash),
        };
    }
    hash == *root
}

fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}
