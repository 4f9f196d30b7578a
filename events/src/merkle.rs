//! The RFC 6962 Merkle tree over the log's entries, in the compact form that an appender needs.
//!
//! Entry `n` is leaf `n`. [`Frontier`] holds one hash per complete subtree, at most 64, which is all it takes
//! to append and to compute the root. Knows nothing of what an entry says. Tiles and proofs build on
//! [`leaf_hash`] and [`node_hash`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Bytes in a SHA-256 digest.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 digest; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// SHA-256 of `bytes`, without any domain separation.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = hex::FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; HASH_BYTES];
        hex::decode_to_slice(text, &mut hash)?;
        Ok(Self(hash))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::from_text(deserializer)
    }
}

/// `SHA-256(0x00 || entry)`, RFC 6962 section 2.1.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(entry);
    Hash(hash.finalize().into())
}

/// `SHA-256(0x01 || left || right)`, RFC 6962 section 2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x01]);
    hash.update(left.0);
    hash.update(right.0);
    Hash(hash.finalize().into())
}

/// The right edge of the tree: the roots of its complete subtrees, the largest (leftmost) first.
///
/// Their sizes are the binary digits of `size`, so the hashes alone with the size say everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// A stored frontier that can't belong to a tree of its size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frontier of {size} leaves has {expected} bytes, not {found}")]
pub struct BadFrontier {
    pub size: u64,
    pub expected: usize,
    pub found: usize,
}

impl Frontier {
    /// Reads what [`Frontier::to_bytes`] wrote for a tree of `size` leaves.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, BadFrontier> {
        let expected = size.count_ones() as usize * HASH_BYTES;
        if bytes.len() != expected {
            return Err(BadFrontier {
                size,
                expected,
                found: bytes.len(),
            });
        }
        let peaks = bytes
            .chunks_exact(HASH_BYTES)
            .filter_map(Hash::from_slice)
            .collect();
        Ok(Self { size, peaks })
    }

    /// The hashes, the largest subtree's first, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|hash| hash.0).collect()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf hash at the right. Amortised one [`node_hash`] a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut subtree = leaf;
        // Every trailing one bit of the size is a complete subtree that the new leaf completes a pair with.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                subtree = node_hash(&left, &subtree);
            }
        }
        self.peaks.push(subtree);
        self.size += 1;
    }

    /// The Merkle tree hash; of the empty tree it is SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Hash::of(b""),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    use super::*;

    /// The root as an independent implementation computes it.
    fn oracle(entries: &[Vec<u8>]) -> Hash {
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for entry in entries {
            tree.push(entry.clone());
        }
        Hash::from_slice(tree.root().as_bytes()).unwrap()
    }

    fn frontier(entries: &[Vec<u8>]) -> Frontier {
        let mut frontier = Frontier::default();
        for entry in entries {
            frontier.push(leaf_hash(entry));
        }
        frontier
    }

    #[test]
    fn known_roots() {
        // The empty tree and the one-entry tree with an empty entry, from the Certificate Transparency test vectors.
        assert_eq!(
            Frontier::default().root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            frontier(&[vec![]]).root().to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn agrees_with_an_independent_tree_at_every_small_size() {
        let entries: Vec<Vec<u8>> = (0..300u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut growing = Frontier::default();
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for entry in entries {
            growing.push(leaf_hash(&entry));
            tree.push(entry);
            assert_eq!(
                growing.root().0.as_slice(),
                tree.root().as_bytes().as_slice()
            );
            assert_eq!(growing.size(), tree.len());
        }
    }

    #[test]
    fn a_frontier_of_the_wrong_length_is_refused() {
        let bytes = frontier(&[vec![1], vec![2], vec![3]]).to_bytes();
        assert_eq!(Frontier::from_bytes(3, &bytes).unwrap().size(), 3);
        assert_eq!(
            Frontier::from_bytes(4, &bytes),
            Err(BadFrontier {
                size: 4,
                expected: 32,
                found: 64
            })
        );
    }

    proptest! {
        #[test]
        fn agrees_with_an_independent_tree(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..600)) {
            prop_assert_eq!(frontier(&entries).root(), oracle(&entries));
        }

        #[test]
        fn survives_storage(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..200), more in any::<u8>()) {
            let mut live = frontier(&entries);
            let mut stored = Frontier::from_bytes(live.size(), &live.to_bytes()).unwrap();
            prop_assert_eq!(&stored, &live);
            live.push(leaf_hash(&[more]));
            stored.push(leaf_hash(&[more]));
            prop_assert_eq!(stored.root(), live.root());
        }
    }
}
