//! One number of every node, with the least and the greatest of each 64 beside them (zone maps, as column stores have
//! them): a threshold that most nodes pass or fail alike is settled by one comparison for 64 of them.

use super::bits::Bits;

/// Nodes of one zone, which is one word of [`Bits`].
const ZONE: usize = 64;

/// Numbers by ordinal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Column {
    values: Vec<u64>,
    least: Vec<u64>,
    greatest: Vec<u64>,
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
            self.least.resize(i / ZONE + 1, 0);
            self.greatest.resize(i / ZONE + 1, 0);
        } else if self.values[i] == value {
            return;
        }
        self.values[i] = value;
        let zone = i / ZONE;
        let end = (zone * ZONE + ZONE).min(self.values.len());
        let (mut least, mut greatest) = (u64::MAX, 0);
        for value in &self.values[zone * ZONE..end] {
            least = least.min(*value);
            greatest = greatest.max(*value);
        }
        self.least[zone] = least;
        self.greatest[zone] = greatest;
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

    fn keep(&self, nodes: &mut Bits, range: std::ops::RangeInclusive<u64>) {
        nodes.each_word(|zone, word| {
            let (Some(least), Some(greatest)) = (self.least.get(zone), self.greatest.get(zone))
            else {
                return 0;
            };
            if range.contains(least) && range.contains(greatest) {
                return word;
            }
            if greatest < range.start() || range.end() < least {
                return 0;
            }
            let values = self.values.iter().skip(zone * ZONE).take(ZONE);
            let bits = values.enumerate();
            let fit = bits.fold(0, |fit, (bit, value)| {
                fit | u64::from(range.contains(value)) << bit
            });
            word & fit
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_threshold_keeps_who_reaches_it(values in prop::collection::vec(0u64..20, 1..300), changed in prop::collection::vec((0usize..300, 0u64..20), 0..30), need in 0u64..20) {
            let mut column = Column::default();
            let mut values = values;
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
