//! The index of waiting work: whose turn it is, and of each requester's tasks which comes first, in one line for tasks that
//! the same nodes can take.
//!
//! A function of the state; a plan never walks tasks that can't be placed, for of a line all can be or none, and it is passed
//! over as a whole.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use aevir_events::Timestamp;

use super::{
    filter::{capable, machine_room, replica_class, replicas, tried},
    needs::{Fnv, Needs},
    reserve::surely_ms,
};
use crate::{
    digest::Digest,
    ids::{AccountId, ContentId, NodeId, TaskId},
    state::{Node, State, Task},
};

/// A task's place among its requester's: by waiting and priority, the least first.
pub(crate) type Turn = (i64, TaskId);

/// What a line's tasks have in common: everything about a task of one requester by which a node may take it or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// A hash of the rest, which tells lines apart at once. It orders them in some way that nothing depends on.
    key: u64,
    pub(super) needs: Arc<Needs>,
    /// By which nodes choose, and for which a task is held back.
    module: Digest,
    contents: Vec<ContentId>,
    /// It looks at something old, whatever is suspended.
    looks_back: bool,
    /// The nodes that a task was on, in their order, and those of its replicas, oldest first.
    tried: Vec<NodeId>,
    replicas: Vec<NodeId>,
    /// The GPU class that those have begun on.
    class: Option<Box<str>>,
    /// The node that is kept free for it.
    reserved: Option<NodeId>,
    /// Within how many ms of its lease a run has ended: a node that is kept free for another task takes it or does not.
    surely_ms: i64,
}

/// What a line's tasks have in common beside the needs.
type Rest<'a> = (
    &'a Digest,
    &'a [ContentId],
    bool,
    &'a [NodeId],
    &'a [NodeId],
    Option<&'a str>,
    Option<NodeId>,
    i64,
);

impl Line {
    pub(super) fn of(state: &State, task: &Task) -> Self {
        let mut tried: Vec<NodeId> = tried(task, &[]).collect();
        tried.sort_unstable();
        tried.dedup();
        let mut line = Self {
            key: 0,
            needs: Arc::new(Needs::of(task, &state.policy_of(task))),
            module: task.definition.module,
            contents: task.definition.contents(),
            looks_back: task.looks_back(),
            tried,
            replicas: replicas(task, &[]).collect(),
            class: replica_class(state, task, &[]).map(Box::from),
            reserved: task.reserved,
            surely_ms: surely_ms(state, task),
        };
        let mut hasher = Fnv::new();
        line.rest().hash(&mut hasher);
        line.needs.hash_key(&mut hasher);
        line.key = hasher.finish();
        line
    }

    /// Whether a node could take the tasks of it once it is idle, as far as what they ask for, price and owner tell.
    pub(super) fn fits(&self, requester: AccountId, node: &Node) -> bool {
        capable(&self.needs, node)
            && machine_room(&self.needs, node)
            && node.terms.ask(self.needs.kind) <= self.needs.price
            && (self.needs.private || node.owner != requester)
            && !self.tried.contains(&node.id)
    }

    /// All but the needs.
    fn rest(&self) -> Rest<'_> {
        (
            &self.module,
            &self.contents,
            self.looks_back,
            &self.tried,
            &self.replicas,
            self.class.as_deref(),
            self.reserved,
            self.surely_ms,
        )
    }
}

impl Ord for Line {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        let by_key = self.key.cmp(&other.key);
        let by_rest = by_key.then_with(|| self.rest().cmp(&other.rest()));
        by_rest.then_with(|| self.needs.cmp(&other.needs))
    }
}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The waiting tasks of one requester.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Lines {
    tasks: BTreeMap<Arc<Line>, BTreeSet<Turn>>,
    /// The first task of each line.
    heads: BTreeMap<Turn, Arc<Line>>,
}

impl Lines {
    fn put(&mut self, turn: Turn, line: &Arc<Line>) {
        let tasks = self.tasks.entry(Arc::clone(line)).or_default();
        let head = tasks.first().copied();
        tasks.insert(turn);
        if head.is_none_or(|head| turn < head) {
            if let Some(head) = head {
                self.heads.remove(&head);
            }
            self.heads.insert(turn, Arc::clone(line));
        }
    }

    fn take(&mut self, turn: Turn, line: &Arc<Line>) {
        let Entry::Occupied(mut tasks) = self.tasks.entry(Arc::clone(line)) else {
            return;
        };
        tasks.get_mut().remove(&turn);
        if self.heads.remove(&turn).is_some()
            && let Some(head) = tasks.get().first()
        {
            self.heads.insert(*head, Arc::clone(line));
        }
        if tasks.get().is_empty() {
            tasks.remove();
        }
    }
}

/// The index of tasks with a replica to place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Queues {
    lines: BTreeMap<AccountId, Lines>,
    places: BTreeMap<TaskId, (i64, Arc<Line>)>,
    /// Requesters with waiting tasks, by what they have used.
    turns: BTreeSet<(u64, AccountId)>,
}

impl Queues {
    /// The index over a state's tasks.
    pub(crate) fn of(state: &State) -> Self {
        let mut queues = Self::default();
        for task in state.tasks.values() {
            queues.refresh(state, task);
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

    /// The first task of each line of a requester, in their order.
    pub(super) fn heads_of(
        &self,
        requester: AccountId,
    ) -> impl Iterator<Item = (Turn, &Arc<Line>)> + use<'_> {
        let lines = self.lines.get(&requester);
        let heads = lines.into_iter().flat_map(|lines| &lines.heads);
        heads.map(|(turn, line)| (*turn, line))
    }

    /// How many lines a requester has.
    pub(super) fn lines_of(&self, requester: AccountId) -> usize {
        self.lines
            .get(&requester)
            .map_or(0, |lines| lines.heads.len())
    }

    /// A requester's tasks in a line.
    pub(super) fn tasks_in(
        &self,
        requester: AccountId,
        line: &Arc<Line>,
    ) -> Option<&BTreeSet<Turn>> {
        self.lines.get(&requester)?.tasks.get(line)
    }

    /// How many tasks of a requester come before one that has this place, or have it.
    pub(super) fn tasks_before(&self, requester: AccountId, last: Turn) -> usize {
        let lines = self.lines.get(&requester).into_iter();
        let tasks = lines.flat_map(|lines| lines.tasks.values());
        tasks.map(|tasks| tasks.range(..=last).count()).sum()
    }

    /// Keeps the index right after a task changed.
    pub(crate) fn refresh(&mut self, state: &State, task: &Task) {
        if task.open_slots() == 0 {
            self.leave(state, task);
            return;
        }
        let line = Line::of(state, task);
        let known = self.places.get(&task.id);
        if known.is_some_and(|(_, known)| **known == line) {
            return;
        }
        self.leave(state, task);
        self.enter(state, task, line);
    }

    /// Requesters that wait and come before this one: where it is served, they could not be. As many as `most` of them, the first ones.
    pub(crate) fn before(&self, turn: u64, requester: AccountId, most: usize) -> Vec<AccountId> {
        let before = self.turns.range(..(turn, requester)).take(most);
        before.map(|(_, id)| *id).collect()
    }

    /// A requester's use changes.
    pub(crate) fn used(&mut self, requester: AccountId, before: u64, after: u64) {
        if self.turns.remove(&(before, requester)) {
            self.turns.insert((after, requester));
        }
    }

    fn enter(&mut self, state: &State, task: &Task, line: Line) {
        let turn = turn(state, task);
        let lines = self.lines.entry(task.requester).or_default();
        if lines.heads.is_empty() {
            let used = state.turn_of(task.requester);
            self.turns.insert((used, task.requester));
        }
        // One copy for all tasks of a line.
        let known = lines.tasks.get_key_value(&line).map(|(known, _)| known);
        let line = known.map_or_else(|| Arc::new(line), Arc::clone);
        lines.put((turn, task.id), &line);
        self.places.insert(task.id, (turn, line));
    }

    fn leave(&mut self, state: &State, task: &Task) {
        let Some((turn, line)) = self.places.remove(&task.id) else {
            return;
        };
        let Some(lines) = self.lines.get_mut(&task.requester) else {
            return;
        };
        lines.take((turn, task.id), &line);
        if lines.heads.is_empty() {
            self.lines.remove(&task.requester);
            let used = state.turn_of(task.requester);
            self.turns.remove(&(used, task.requester));
        }
    }
}

/// Of so many lines, the first of those that a plan looks at where the first `most` have nothing to place: others follow on one
/// another with each second, so that each has its own however many there are.
pub(super) fn others_from(all: usize, most: usize, now: Timestamp) -> usize {
    let second = usize::try_from(now.0 / 1_000).unwrap_or(0);
    let others = all.saturating_sub(most).max(1);
    most + second.wrapping_mul(most) % others
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
