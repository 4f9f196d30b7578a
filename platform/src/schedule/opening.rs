//! When nodes can take a task, as far as their runs' limits tell: what quotes go by.

use std::{cmp::Reverse, collections::BinaryHeap};

use aevir_events::Timestamp;

use super::{filter::lease_room_of, needs::Needs, reserve, reserved_ms};
use crate::state::{Node, Room, State, Task};

/// What stands between a node and the next task.
pub(super) struct Opening {
    /// It takes nothing before: it is closed, pauses, or is kept free for another task.
    from: Timestamp,
    /// When its runs end at the latest, that of the task which it is kept free for among them, with what they take: in their order.
    ends: Vec<(Timestamp, Room)>,
    /// What it keeps of sealed results, and when they are opened: taken to be within the time that there is to reveal.
    sealed: (Timestamp, Room),
    slots: usize,
    whole: Room,
}

impl Opening {
    pub(super) fn of(
        state: &State,
        task: &Task,
        needs: &Needs,
        node: &Node,
        now: Timestamp,
    ) -> Self {
        let ends = reserve::ends_of(state, node).into_iter();
        // One that takes longer than its limit ends at any time.
        let ends = ends.map(|(at, room)| (at.max(now), room));
        let reveal_ms = state.policy_of(task).reveal_ms;
        let pauses = node.backoff_until(needs.kind).max(now);
        let mut opening = Self {
            from: node.terms.opens_at(pauses),
            ends: ends.collect(),
            sealed: (later(now, reveal_ms.into()), node.sealed_room()),
            slots: node.slots() as usize,
            whole: node.room(),
        };
        opening.ends.sort_unstable();
        if let Some(holder) = reserve::kept_for(state, task, node, now) {
            let room = lease_room_of(state, holder);
            if let Some(at) = opening.room_at(room) {
                opening.from = at;
                opening.ends.push((later(at, reserved_ms(holder)), room));
                opening.ends.sort_unstable();
            }
        }
        opening
    }

    /// When there is room for a run, were all others to take all their time; `None` where the machine is too small for it.
    pub(super) fn room_at(&self, run: Room) -> Option<Timestamp> {
        let ends = self.ends.iter().map(|(at, _)| *at);
        let mut times = ends
            .filter(|at| *at > self.from)
            .chain([self.from, self.sealed.0.max(self.from)])
            .collect::<Vec<_>>();
        times.sort_unstable();
        times.into_iter().find(|at| {
            let left = self.ends.iter().filter(|(end, _)| end > at);
            let (opened, sealed) = self.sealed;
            let mut taken = if opened > *at {
                sealed
            } else {
                Room::default()
            };
            let mut runs = 0;
            for (_, more) in left {
                taken.add(*more);
                runs += 1;
            }
            run.fits_beside(taken, self.whole) && runs < self.slots
        })
    }

    /// When each of its slots is free.
    pub(super) fn slots(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let idle = self.slots.saturating_sub(self.ends.len());
        let busy = self.ends.iter().map(|(end, _)| (*end).max(self.from));
        std::iter::repeat_n(self.from, idle).chain(busy.take(self.slots))
    }
}

/// When the first slot is free after runs that take all their time, each on the slot that is free first ([list scheduling](https://doi.org/10.1137/0117039),
/// Graham, 1969); `None` without slots. `further` runs more take `further_ms` together, whichever slots they get.
pub(super) fn free_after(
    slots: impl Iterator<Item = Timestamp>,
    runs_ms: &[u64],
    further_ms: u64,
) -> Option<Timestamp> {
    let mut free: BinaryHeap<Reverse<Timestamp>> = slots.map(Reverse).collect();
    for ms in runs_ms {
        let Reverse(first) = free.pop()?;
        free.push(Reverse(later(first, *ms)));
    }
    let each_ms = further_ms / (free.len() as u64).max(1);
    free.pop().map(|Reverse(first)| later(first, each_ms))
}

pub(super) fn later(at: Timestamp, ms: u64) -> Timestamp {
    at.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_takes_the_slot_that_is_free_first() {
        let slots = || [5, 0, 9].into_iter().map(Timestamp);
        assert_eq!(free_after(slots(), &[], 0), Some(Timestamp(0)));
        // 0 to 7; 5 to 6; 6 to 16: then those at 7, 9 and 16.
        assert_eq!(free_after(slots(), &[7, 1, 10], 0), Some(Timestamp(7)));
        assert_eq!(free_after(slots(), &[7, 1, 10], 30), Some(Timestamp(17)));
        assert_eq!(free_after([].into_iter(), &[1], 0), None);
    }
}
