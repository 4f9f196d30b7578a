//! One number of every node, with the least and the greatest of each 64 and of each 4,096 beside them (zone maps, as column stores
//! have them): a threshold that most nodes pass or fail alike is settled by one comparison for all of them.

use std::ops::RangeInclusive;

use super::bits::{BLOCK, Bits, Part};

/// Nodes of one zone, which is one word of [`Bits`].
const ZONE: usize = 64;

/// Numbers by ordinal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Column {
    values: Vec<u64>,
    /// The least and the greatest of each zone ...
    zones: Vec<(u64, u64)>,
    /// ... and of each block of zones, as [`Bits`] has them.
    blocks: Vec<(u64, u64)>,
}

impl Column {
    pub(crate) fn get(&self, i: u32) -> u64 {
        self.values.get(i as usize).copied().unwrap_or(0)
    }

    /// Sets the number of a node; the next node is appended.
    pub(crate) fn set(&mut self, i: u32, value: u64) {
        let i = i as usize;
        if i >= self.values.len() {
            self.values.resize(i + 1, 0);
            self.zones.resize(i / ZONE + 1, NOTHING);
            self.blocks.resize(i / (ZONE * BLOCK) + 1, NOTHING);
        } else if self.values[i] == value {
            return;
        }
        self.values[i] = value;
        let zone = i / ZONE;
        let end = (zone * ZONE + ZONE).min(self.values.len());
        let values = self.values[zone * ZONE..end].iter();
        let bounds = values.fold(NOTHING, |(least, most), v| (least.min(*v), most.max(*v)));
        if self.zones[zone] == bounds {
            return;
        }
        self.zones[zone] = bounds;
        let block = zone / BLOCK;
        let end = (block * BLOCK + BLOCK).min(self.zones.len());
        let zones = self.zones[block * BLOCK..end].iter();
        self.blocks[block] = zones.fold(NOTHING, |(least, most), (l, m)| {
            (least.min(*l), most.max(*m))
        });
    }

    /// Keeps the nodes whose number is at least so great.
    pub(crate) fn keep_at_least(&self, nodes: &mut Bits, need: u64) {
        if need > 0 {
            self.keep(nodes, need..=u64::MAX);
        }
    }

    /// Keeps the nodes whose number is at most so great.
    pub(crate) fn keep_at_most(&self, nodes: &mut Bits, most: u64) {
        if most < u64::MAX {
            self.keep(nodes, 0..=most);
        }
    }

    fn keep(&self, nodes: &mut Bits, range: RangeInclusive<u64>) {
        let of_block = |block: usize| part(self.blocks.get(block), &range);
        nodes.each_block(of_block, |zone, word| {
            match part(self.zones.get(zone), &range) {
                Part::All => word,
                Part::None => 0,
                Part::Some => {
                    let values = self.values.iter().skip(zone * ZONE).take(ZONE);
                    let fit = values.enumerate().fold(0, |fit, (bit, value)| {
                        fit | u64::from(range.contains(value)) << bit
                    });
                    word & fit
                }
            }
        });
    }
}

/// The bounds of no number at all.
const NOTHING: (u64, u64) = (u64::MAX, 0);

/// What part of the numbers with these bounds is in a range.
fn part(bounds: Option<&(u64, u64)>, range: &RangeInclusive<u64>) -> Part {
    let Some((least, greatest)) = bounds else {
        return Part::None;
    };
    if range.contains(least) && range.contains(greatest) {
        Part::All
    } else if greatest < range.start() || range.end() < least {
        Part::None
    } else {
        Part::Some
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_threshold_keeps_who_reaches_it(values in prop::collection::vec(0u64..20, 1..300), repeated in 1usize..40, changed in prop::collection::vec((0usize..9_000, 0u64..20), 0..30), need in 0u64..20) {
            let mut column = Column::default();
            // Some are longer than a block.
            let mut values = values.repeat(repeated);
            for (i, value) in values.iter().enumerate() {
                column.set(i as u32, *value);
            }
            for (i, value) in changed {
                if i < values.len() {
                    values[i] = value;
                    column.set(i as u32, value);
                }
            }
            let all: Bits = (0..values.len() as u32).collect();
            let (mut above, mut below) = (all.clone(), all);
            column.keep_at_least(&mut above, need);
            column.keep_at_most(&mut below, need);
            let chosen = |keep: &dyn Fn(u64) -> bool| -> Bits {
                let of = values.iter().enumerate().filter(|(_, v)| keep(**v));
                of.map(|(i, _)| i as u32).collect()
            };
            prop_assert_eq!(above, chosen(&|v| v >= need));
            prop_assert_eq!(below, chosen(&|v| v <= need));
        }
    }
}
