//! Which nodes are open at a minute of the week: a [segment tree](https://doi.org/10.1007/978-3-540-77974-2) over the minutes
//! (de Berg, Cheong, van Kreveld and Overmars, 2008, section 10.3). A window stands at as few of its knots as cover it, so that a look at
//! one minute meets as many sets as the tree is high, however many nodes keep hours of their own.

use super::{bits::Bits, members::Named};
use crate::terms::{WEEK_MIN, Window};

/// Leaves of the tree: the least power of two that holds a week's minutes.
const LEAVES: u16 = WEEK_MIN.next_power_of_two();

/// The index of nodes by their hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hours {
    /// Nodes that keep hours at all.
    keeping: Bits,
    /// By knot: 1 is the root, the knots below n are 2n and 2n + 1, and the leaf of a minute is the minute and [`LEAVES`].
    open: Named<u16>,
}

impl Hours {
    /// A node keeps these hours, or does not any more. None are no hours: it is always open.
    pub(super) fn set(&mut self, i: u32, windows: &[Window], is_there: bool) {
        self.keeping.set(i, is_there && !windows.is_empty());
        for window in windows {
            let (mut from, mut to) = (window.from_min + LEAVES, window.to_min + LEAVES);
            while from < to {
                if from % 2 == 1 {
                    self.open.mark(from, i, is_there);
                    from += 1;
                }
                if to % 2 == 1 {
                    to -= 1;
                    self.open.mark(to, i, is_there);
                }
                (from, to) = (from / 2, to / 2);
            }
        }
    }

    /// Takes the nodes out that are closed at a minute of the week.
    pub(super) fn take_out_closed(&self, minute: u16, nodes: &mut Bits) {
        if self.keeping.is_empty() {
            return;
        }
        let mut closed = self.keeping.clone();
        let mut knot = minute + LEAVES;
        while knot > 0 {
            if let Some(open) = self.open.get(&knot) {
                open.take_out(&mut closed);
            }
            knot /= 2;
        }
        nodes.subtract(&closed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        let window = (0..WEEK_MIN, 1..=WEEK_MIN).prop_filter_map("a window", |(from, to)| {
            (from < to).then_some(Window {
                from_min: from,
                to_min: to,
            })
        });
        prop::collection::vec(window, 0..5)
    }

    proptest! {
        #[test]
        fn open_is_who_has_a_window_then(all in prop::collection::vec(windows(), 1..20), gone in 0usize..20, minutes in prop::collection::vec(0..WEEK_MIN, 20)) {
            let mut hours = Hours::default();
            for (i, windows) in all.iter().enumerate() {
                hours.set(i as u32, windows, true);
            }
            if let Some(windows) = all.get(gone) {
                hours.set(gone as u32, windows, false);
            }
            let edges = all.iter().flatten().flat_map(|w| [w.from_min, w.to_min - 1, w.to_min % WEEK_MIN]);
            for minute in minutes.into_iter().chain(edges) {
                let mut open: Bits = (0..all.len() as u32).collect();
                hours.take_out_closed(minute, &mut open);
                for (i, windows) in all.iter().enumerate() {
                    let is_open = i == gone || windows.is_empty() || windows.iter().any(|w| w.holds(minute));
                    prop_assert_eq!(open.contains(i as u32), is_open);
                }
            }
        }
    }
}
