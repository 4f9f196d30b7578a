//! How the platform checks the class of arithmetic throughput that a node claims for its GPU.
//!
//! With an answer to its ask for leases a node gets a [`Challenge`]: a seed, and as much work as takes a GPU at the lower bound of its class
//! some two seconds. It computes the values ([`Work`]), hashes them into a tree ([`Tree`]) and sends the root: the server's clock stops then.
//! The server answers with indices that it draws only now, so that nobody can try roots until the indices suit him; the node opens the
//! leaves in which they stand, and the server computes these values again.

mod tree;
mod work;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tree::{LEAF_BYTES, VALUES_PER_LEAF, leaf_of};

pub use tree::Tree;
pub use work::{CHECKED_CLASS_MAX, VALUES_PER_DISPATCH, Work};

/// Values that are checked of an answer: who computes half of them passes once in 65,536 times.
pub const CHALLENGE_INDICES: usize = 16;

/// Work by which a node shows how fast its GPU is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    pub id: String,
    /// 64 hex digits.
    pub seed: String,
    /// Dispatches, of 65,536 values each.
    pub dispatches: u32,
    /// Starts of each value's chains.
    pub starts: u32,
    /// The root is expected within this time. The server's clock runs already.
    pub answer_ms: u32,
}

/// The values are computed. `POST /v1/node/challenges/{id}/root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRoot {
    /// Of the tree over all values, 64 hex digits.
    pub root: String,
}

/// Which values are to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeIndices {
    /// [`CHALLENGE_INDICES`] of them.
    pub indices: Vec<u32>,
}

/// The leaves in which they stand, in their order. `POST /v1/node/challenges/{id}/openings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeOpenings {
    pub openings: Vec<ChallengeOpening>,
}

/// A leaf and what proves that it is under the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeOpening {
    /// 64 values, four bytes each, little endian, in hex.
    pub leaf: String,
    /// The hashes beside the way from the leaf to the root, the lowest first, in hex.
    pub path: Vec<String>,
}

impl ChallengeOpening {
    /// The value at an index, where the leaf stands under the root at its place. `None` where it does not.
    #[must_use]
    pub fn value(&self, root: &[u8; 32], work: &Work, index: u32) -> Option<u32> {
        let leaf: [u8; LEAF_BYTES] = hex::decode(&self.leaf).ok()?.try_into().ok()?;
        let hash = |text: &String| hex::decode(text).ok()?.try_into().ok();
        let path: Vec<[u8; 32]> = self.path.iter().map(hash).collect::<Option<_>>()?;
        let leaves = work.values() / VALUES_PER_LEAF;
        if !tree::holds(root, leaves, leaf_of(index), &leaf, &path) {
            return None;
        }
        let at = (index % VALUES_PER_LEAF) as usize * 4;
        let bytes = leaf.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Whether the leaf stands under the root and the value in it is what the work gives, with fused steps or without.
    #[must_use]
    pub fn is_right(&self, root: &[u8; 32], work: &Work, index: u32) -> bool {
        let value = self.value(root, work, index);
        value.is_some_and(|value| work.gives(index, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WORK: Work = Work {
        seed: [7; 32],
        dispatches: 1,
        starts: 1,
    };

    /// The bytes of all values, as a GPU gives them.
    fn computed(work: &Work) -> Vec<u8> {
        let values = (0..work.values()).map(|i| work.value(i, true));
        values.flat_map(u32::to_le_bytes).collect()
    }

    fn opening(tree: &Tree, values: &[u8], index: u32) -> ChallengeOpening {
        tree.open(values, index).unwrap()
    }

    #[test]
    fn what_was_computed_is_right_and_nothing_else() {
        let values = computed(&WORK);
        let tree = Tree::of(&values);
        let root = tree.root();
        for index in [0, 63, 64, 40_000, 65_535] {
            let opened = opening(&tree, &values, index);
            assert!(opened.is_right(&root, &WORK, index), "{index}");
            let elsewhere = (index + 64) % WORK.values();
            assert!(!opened.is_right(&root, &WORK, elsewhere), "another place");
            let seed = [8; 32];
            assert!(!opened.is_right(&root, &Work { seed, ..WORK }, index));
            assert!(!opened.is_right(&[0; 32], &WORK, index), "another root");
            let mut shorter = opened.clone();
            shorter.path.pop();
            assert!(!shorter.is_right(&root, &WORK, index));
            let mut forged = opened.clone();
            forged.path[0] = "00".repeat(32);
            assert!(!forged.is_right(&root, &WORK, index));
            let mut other = opened;
            other.leaf.replace_range(0..2, "zz");
            assert!(!other.is_right(&root, &WORK, index), "no hex");
        }
    }

    #[test]
    fn who_skips_a_part_is_found_by_the_values_that_he_skipped() {
        let mut values = computed(&WORK);
        let half = values.len() / 2;
        values[half..].fill(0);
        let tree = Tree::of(&values);
        let right = |index| opening(&tree, &values, index).is_right(&tree.root(), &WORK, index);
        assert!(right(32_767));
        assert!(!right(32_768) && !right(65_535));
    }
}
