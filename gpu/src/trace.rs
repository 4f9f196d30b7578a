//! The trace: one leaf for every dispatch, copy, write and read of a run, in the order of its calls, and the Merkle root over them.
//!
//! The tree is RFC 6962's (leaf = SHA-256(0x00 || entry), node = SHA-256(0x01 || left || right), empty = SHA-256("")), so that
//! a later dispute can be narrowed down to one dispatch with ordinary inclusion proofs. `docs/trace.md` defines the entries' bytes
//! for others; the test below writes them down by hand.
//!
//! Buffers are named by their number in the run, so an entry says the same on every adapter, but for what a guest decides by what it
//! has read. Contents are not hashed, but for short writes: SHA-256 takes ten times as long as moving the bytes does.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The root of the empty tree, SHA-256(""): every run without a GPU has it.
const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The growing tree: only the roots of its perfect subtrees are kept, largest first.
#[derive(Debug, Default, Clone)]
pub struct Trace {
    len: u64,
    peaks: Vec<Hash>,
}

impl Trace {
    /// Appends one entry.
    pub fn push(&mut self, entry: &[u8]) {
        let mut hash = Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into();
        // Each trailing one bit of the old length is a perfect subtree that the new leaf completes.
        for _ in 0..self.len.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.len += 1;
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The root over all entries so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node(&left, &right))
            .unwrap_or(EMPTY_ROOT)
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The version of the entries' form, their first byte.
pub const FORMAT: u8 = 1;
/// Bytes of a write whose contents are hashed: uniforms, sizes and other parameters, for which it takes two microseconds at most.
pub const DIGESTED_BYTES_MAX: usize = 4096;

/// An entry under construction: the format, a kind, then fixed-width fields (big-endian).
#[derive(Debug)]
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    fn new(kind: u8) -> Self {
        Self(vec![FORMAT, kind])
    }

    /// A dispatch; of each binding the buffer's number, and where the bound part begins and how long it is.
    pub(crate) fn dispatch(
        kernel: &Hash,
        groups: [u32; 3],
        bindings: impl Iterator<Item = [u64; 3]>,
    ) -> Self {
        let mut entry = Self::new(b'd');
        entry.0.extend_from_slice(kernel);
        for n in groups {
            entry.0.extend_from_slice(&n.to_be_bytes());
        }
        bindings.fold(entry, |entry, fields| entry.numbers(&fields))
    }

    /// A copy: from which buffer and where, to which and where, and how many bytes.
    pub(crate) fn copy(fields: [u64; 5]) -> Self {
        Self::new(b'c').numbers(&fields)
    }

    /// Bytes that came from the host.
    pub(crate) fn write(buffer: u64, offset: u64, bytes: &[u8]) -> Self {
        let mut entry = Self::new(b'w').numbers(&[buffer, offset, bytes.len() as u64]);
        if bytes.len() <= DIGESTED_BYTES_MAX {
            entry.0.extend_from_slice(&Sha256::digest(bytes));
        }
        entry
    }

    /// Bytes that went to the host.
    pub(crate) fn read(buffer: u64, offset: u64, len: u32) -> Self {
        Self::new(b'r').numbers(&[buffer, offset, len.into()])
    }

    fn numbers(mut self, values: &[u64]) -> Self {
        for value in values {
            self.0.extend_from_slice(&value.to_be_bytes());
        }
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, written down as it stands there.
    fn reference(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => Sha256::new()
                .chain_update([0])
                .chain_update(one)
                .finalize()
                .into(),
            many => {
                let k = many.len().next_power_of_two() / 2;
                node(&reference(&many[..k]), &reference(&many[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_rfc_6962s_at_every_size() {
        let mut trace = Trace::default();
        let mut entries = Vec::new();
        assert_eq!(trace.root(), reference(&entries));
        for i in 0..70u8 {
            entries.push(vec![i; usize::from(i % 5)]);
            trace.push(&entries[usize::from(i)]);
            assert_eq!(trace.root(), reference(&entries), "after {i}");
        }
    }
}
