//! The index of waiting work: whose turn it is, and of each requester's tasks which comes first, in one line for tasks with
//! equal needs.
//!
//! A function of the state; a plan never walks tasks that can't be placed, for a line whose needs no free node meets is
//! passed over as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::needs::Needs;
use crate::{
    ids::{AccountId, TaskId},
    state::{State, Task},
};

/// A task's place among its requester's: by waiting and priority, the least first.
pub(crate) type Turn = (i64, TaskId);

/// What a line's tasks have in common: their needs, and whether nodes have been tried (which differ from task to task).
pub(crate) type LineKey = (Arc<Needs>, bool);

/// The index of tasks with a replica to place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Queues {
    lines: BTreeMap<AccountId, BTreeMap<LineKey, BTreeSet<Turn>>>,
    places: BTreeMap<TaskId, (i64, LineKey)>,
    /// Requesters with waiting tasks, by what they have used.
    turns: BTreeSet<(u64, AccountId)>,
}

impl Queues {
    /// The index over a state's tasks.
    pub(crate) fn of(state: &State) -> Self {
        let mut queues = Self::default();
        for task in state.tasks.values().filter(|t| t.open_slots() > 0) {
            queues.enter(state, task);
        }
        queues
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many tasks wait.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether any task of a requester waits.
    pub(crate) fn has(&self, requester: AccountId) -> bool {
        self.lines.contains_key(&requester)
    }

    /// Requesters with waiting tasks, from the one who used least.
    pub(super) fn turns(&self) -> impl Iterator<Item = (u64, AccountId)> + '_ {
        self.turns.iter().copied()
    }

    /// A requester's lines.
    pub(super) fn lines_of(
        &self,
        requester: AccountId,
    ) -> impl Iterator<Item = (&LineKey, &BTreeSet<Turn>)> {
        self.lines.get(&requester).into_iter().flatten()
    }

    /// Tasks that come before this one among those with equal needs, over all requesters, as far as `most`.
    pub(super) fn ahead(&self, needs: &Needs, turn: i64, most: usize) -> usize {
        let lines = self.lines.values().flatten();
        let same = lines.filter(|((of, _), _)| **of == *needs);
        let before = same.map(|(_, line)| {
            line.range(..(turn, TaskId(ulid::Ulid::nil())))
                .take(most)
                .count()
        });
        before.fold(0, |sum, n| most.min(sum + n))
    }

    /// Keeps the index right after a task changed.
    pub(crate) fn refresh(&mut self, state: &State, task: &Task) {
        if task.open_slots() == 0 {
            self.leave(state, task);
            return;
        }
        let tried = !task.assignments.is_empty();
        match self.places.get(&task.id) {
            Some((_, (_, marked))) if *marked == tried => {}
            Some((turn, (needs, _))) => {
                let (turn, needs) = (*turn, Arc::clone(needs));
                self.leave(state, task);
                self.put(state, task, turn, (needs, tried));
            }
            None => self.enter(state, task),
        }
    }

    /// A requester's use changes.
    pub(crate) fn used(&mut self, requester: AccountId, before: u64, after: u64) {
        if self.turns.remove(&(before, requester)) {
            self.turns.insert((after, requester));
        }
    }

    fn enter(&mut self, state: &State, task: &Task) {
        let policy = state.policy_of(task);
        let needs = Needs::of(task, &policy.scheduling);
        let key = (Arc::new(needs), !task.assignments.is_empty());
        // One copy of the needs for all tasks of a line.
        let lines = self.lines.get(&task.requester);
        let known = lines.and_then(|l| Some(l.get_key_value(&key)?.0.clone()));
        self.put(state, task, turn(state, task), known.unwrap_or(key));
    }

    fn put(&mut self, state: &State, task: &Task, turn: i64, key: LineKey) {
        let lines = self.lines.entry(task.requester).or_default();
        if lines.is_empty() {
            self.turns
                .insert((state.used(task.requester), task.requester));
        }
        lines
            .entry(key.clone())
            .or_default()
            .insert((turn, task.id));
        self.places.insert(task.id, (turn, key));
    }

    fn leave(&mut self, state: &State, task: &Task) {
        let Some((turn, key)) = self.places.remove(&task.id) else {
            return;
        };
        let Some(lines) = self.lines.get_mut(&task.requester) else {
            return;
        };
        if let Some(line) = lines.get_mut(&key) {
            line.remove(&(turn, task.id));
            if line.is_empty() {
                lines.remove(&key);
            }
        }
        if lines.is_empty() {
            self.lines.remove(&task.requester);
            self.turns
                .remove(&(state.used(task.requester), task.requester));
        }
    }
}

/// When a task's turn is among its requester's: the time at which it was queued, and so many ms earlier as its priority is
/// worth. It never changes, so that waiting alone brings every task to the front.
pub(crate) fn turn(state: &State, task: &Task) -> i64 {
    let policy = state.policy_of(task);
    let head_start =
        i64::from(task.definition.qos.priority) * i64::from(policy.scheduling.ageing_ms);
    let queued_at = task.queued_at.unwrap_or_default();
    queued_at.0.saturating_sub(head_start)
}
