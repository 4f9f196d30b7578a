//! Sets of nodes as bits, with counts of blocks beside them, so that the k-th of 100,000 is found in about a hundred steps.
//!
//! A node is named by its ordinal: how many nodes were registered before it.

/// Bits of one word.
const WORD: usize = 64;
/// Words that one count stands for: 4,096 nodes.
pub(super) const BLOCK: usize = 64;

/// What part of a block's members is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    None,
    /// Each word has to be looked at.
    Some,
    All,
}

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    /// Members in each block of words.
    counts: Vec<u32>,
    len: u32,
}

/// Sets are equal that have the same members, however much room they have.
impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        let (long, short) = if self.words.len() < other.words.len() {
            (&other.words, &self.words)
        } else {
            (&self.words, &other.words)
        };
        let (same, rest) = long.split_at(short.len());
        same == short && rest.iter().all(|word| *word == 0)
    }
}

impl Eq for Bits {}

impl Bits {
    /// How many members.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, i: u32) -> bool {
        let (word, bit) = place(i);
        self.words.get(word).is_some_and(|w| w >> bit & 1 == 1)
    }

    /// Adds a member; answers whether it is new.
    pub(crate) fn insert(&mut self, i: u32) -> bool {
        let (word, bit) = place(i);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
            self.counts.resize(word / BLOCK + 1, 0);
        }
        let new = self.words[word] >> bit & 1 == 0;
        if new {
            self.words[word] |= 1 << bit;
            self.counts[word / BLOCK] += 1;
            self.len += 1;
        }
        new
    }

    /// Takes a member out; answers whether it was one.
    pub(crate) fn remove(&mut self, i: u32) -> bool {
        let (word, bit) = place(i);
        let found = self.contains(i);
        if found {
            self.words[word] &= !(1 << bit);
            self.counts[word / BLOCK] -= 1;
            self.len -= 1;
        }
        found
    }

    /// Takes all members out.
    pub(super) fn clear(&mut self) {
        self.each_block(|_| Part::None, |_, word| word);
    }

    /// Puts a member in or takes it out.
    pub(crate) fn set(&mut self, i: u32, is_member: bool) {
        if is_member {
            self.insert(i);
        } else {
            self.remove(i);
        }
    }

    /// How many members are below `i`.
    pub(crate) fn rank(&self, i: u32) -> u32 {
        let (word, bit) = place(i);
        let word = word.min(self.words.len());
        let block = word / BLOCK;
        let blocks: u32 = self.counts.iter().take(block).sum();
        let words = &self.words[(block * BLOCK).min(word)..word];
        let ones: u32 = words.iter().map(|w| w.count_ones()).sum();
        let last = self.words.get(word).map_or(0, |w| w & ((1 << bit) - 1));
        blocks + ones + last.count_ones()
    }

    /// The member with `k` others below it.
    pub(crate) fn select(&self, mut k: u32) -> Option<u32> {
        let mut block = 0;
        while *self.counts.get(block)? <= k {
            k -= self.counts[block];
            block += 1;
        }
        let words = self.words.iter().enumerate().skip(block * BLOCK);
        for (at, word) in words {
            let ones = word.count_ones();
            if k < ones {
                let mut left = *word;
                for _ in 0..k {
                    left &= left - 1;
                }
                return u32::try_from(at * WORD)
                    .ok()
                    .map(|base| base + left.trailing_zeros());
            }
            k -= ones;
        }
        None
    }

    /// The members in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words
            .iter()
            .enumerate()
            .filter(|(_, w)| **w != 0)
            .flat_map(|(at, word)| {
                let mut left = *word;
                std::iter::from_fn(move || {
                    let bit = (left != 0).then(|| left.trailing_zeros())?;
                    left &= left - 1;
                    Some((at * WORD) as u32 + bit)
                })
            })
    }

    /// Keeps what is in the other set too.
    pub(crate) fn intersect(&mut self, other: &Self) {
        self.each_word(|at, word| word & other.words.get(at).copied().unwrap_or(0));
    }

    /// Keeps what is not in the other set.
    pub(crate) fn subtract(&mut self, other: &Self) {
        if !other.is_empty() {
            self.each_word(|at, word| word & !other.words.get(at).copied().unwrap_or(0));
        }
    }

    /// Adds the members that `one` and `two` share and `not` lacks.
    pub(crate) fn add_shared(&mut self, one: &Self, two: &Self, not: &Self) {
        if one.is_empty() || two.is_empty() {
            return;
        }
        let words = one.words.len().min(two.words.len());
        if self.words.len() < words {
            self.words.resize(words, 0);
            self.counts.resize(words.div_ceil(BLOCK), 0);
        }
        for block in shared_blocks(one, two) {
            let mut added = 0;
            for at in block * BLOCK..(block * BLOCK + BLOCK).min(words) {
                let other = not.words.get(at).copied().unwrap_or(0);
                let new = one.words[at] & two.words[at] & !other & !self.words[at];
                self.words[at] |= new;
                added += new.count_ones();
            }
            self.counts[block] += added;
            self.len += added;
        }
    }

    /// Whether the two share a member that `not` lacks.
    pub(crate) fn meets(&self, two: &Self, not: &Self) -> bool {
        if self.is_empty() || two.is_empty() {
            return false;
        }
        let words = self.words.len().min(two.words.len());
        shared_blocks(self, two).any(|block| {
            (block * BLOCK..(block * BLOCK + BLOCK).min(words)).any(|at| {
                let other = not.words.get(at).copied().unwrap_or(0);
                self.words[at] & two.words[at] & !other != 0
            })
        })
    }

    /// The same, of members that a third set has, too.
    pub(crate) fn meets_among(&self, two: &Self, three: &Self, not: &Self) -> bool {
        if self.is_empty() || two.is_empty() || three.is_empty() {
            return false;
        }
        let words = self.words.len().min(two.words.len());
        let words = words.min(three.words.len());
        shared_blocks(self, two).any(|block| {
            (block * BLOCK..(block * BLOCK + BLOCK).min(words)).any(|at| {
                let other = not.words.get(at).copied().unwrap_or(0);
                self.words[at] & two.words[at] & three.words[at] & !other != 0
            })
        })
    }

    /// Replaces each word that has members by what `keep` makes of it, which must be a part of it.
    pub(crate) fn each_word(&mut self, keep: impl FnMut(usize, u64) -> u64) {
        self.each_block(|_| Part::Some, keep);
    }

    /// The same, where something is known of whole blocks, each of [`BLOCK`] words.
    pub(super) fn each_block(
        &mut self,
        known: impl Fn(usize) -> Part,
        mut keep: impl FnMut(usize, u64) -> u64,
    ) {
        let mut len = 0;
        for (block, count) in self.counts.iter_mut().enumerate() {
            if *count == 0 {
                continue;
            }
            let mut left = 0;
            let end = (block * BLOCK + BLOCK).min(self.words.len());
            match known(block) {
                Part::All => {
                    len += *count;
                    continue;
                }
                Part::None => {
                    self.words[block * BLOCK..end].fill(0);
                    *count = 0;
                    continue;
                }
                Part::Some => {}
            }
            for at in block * BLOCK..end {
                let word = self.words[at];
                if word != 0 {
                    let kept = keep(at, word) & word;
                    self.words[at] = kept;
                    left += kept.count_ones();
                }
            }
            *count = left;
            len += left;
        }
        self.len = len;
    }
}

/// The blocks in which both have members.
fn shared_blocks<'a>(one: &'a Bits, two: &'a Bits) -> impl Iterator<Item = usize> + 'a {
    let counts = one.counts.iter().zip(&two.counts).enumerate();
    counts
        .filter(|(_, (a, b))| **a > 0 && **b > 0)
        .map(|(block, _)| block)
}

/// The word and the bit of a number.
fn place(i: u32) -> (usize, u32) {
    let i = i as usize;
    (i / WORD, (i % WORD) as u32)
}

impl FromIterator<u32> for Bits {
    fn from_iter<T: IntoIterator<Item = u32>>(members: T) -> Self {
        let mut bits = Self::default();
        for member in members {
            bits.insert(member);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sets() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0u32..20_000, 0..300)
    }

    proptest! {
        #[test]
        fn bits_are_a_set(members in sets(), removed in sets()) {
            let mut bits: Bits = members.iter().copied().collect();
            let mut set = members;
            for i in &removed {
                prop_assert_eq!(bits.remove(*i), set.remove(i));
            }
            prop_assert_eq!(bits.len() as usize, set.len());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            for (k, i) in set.iter().enumerate() {
                prop_assert!(bits.contains(*i));
                prop_assert_eq!(bits.rank(*i) as usize, k);
                prop_assert_eq!(bits.select(k as u32), Some(*i));
            }
            prop_assert_eq!(bits.select(bits.len()), None);
            prop_assert_eq!(bits.rank(u32::MAX), bits.len());
            prop_assert_eq!(&bits, &set.iter().copied().collect::<Bits>());
        }

        #[test]
        fn operations_are_those_of_sets(a in sets(), b in sets(), c in sets()) {
            let bits = |set: &BTreeSet<u32>| set.iter().copied().collect::<Bits>();
            let mut both = bits(&a);
            both.intersect(&bits(&b));
            prop_assert_eq!(&both, &bits(&(&a & &b)));
            let mut without = bits(&a);
            without.subtract(&bits(&b));
            prop_assert_eq!(&without, &bits(&(&a - &b)));
            let shared = &(&a & &b) - &c;
            prop_assert_eq!(bits(&a).meets(&bits(&b), &bits(&c)), !shared.is_empty());
            for d in [&a, &b, &c] {
                let among = &shared & d;
                prop_assert_eq!(bits(&a).meets_among(&bits(&b), &bits(d), &bits(&c)), !among.is_empty());
            }
            let mut added = bits(&c);
            added.add_shared(&bits(&a), &bits(&b), &Bits::default());
            prop_assert_eq!(&added, &bits(&(&c | &(&a & &b))));
            prop_assert_eq!(added.len() as usize, (&c | &(&a & &b)).len());
        }
    }
}
