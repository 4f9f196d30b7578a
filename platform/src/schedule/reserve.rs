//! Nodes that are kept free: a task that has waited for long, and fits a node only once several of its runs have ended, would wait for as
//! long as there are small ones to take each room that opens. One node gets nothing else until it is placed, but for what ends for certain
//! before it could be (a reservation as in [EASY backfilling](https://doi.org/10.1109/71.932708), Mu'alem and Feitelson, 2001).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use aevir_events::Timestamp;

use super::{
    Refused,
    bits::Bits,
    filter::{Gifts, lease_room_of, may_pledge, reasons, room_of, whole_stake},
    held,
    needs::{Needs, fetch_ms, slack_ms},
    reserved_ms,
    tail::window,
};
use crate::{
    ids::{AccountId, NodeId, TaskId},
    policy::ReservePolicy,
    state::{Node, Room, State, Task},
};

/// The nodes that are kept free now, each with the task that it is for.
pub(super) fn in_force(state: &State, now: Timestamp) -> Vec<(&Node, &Task)> {
    let reserved = state.index.reserved.iter();
    let found = reserved.filter_map(|(node, task)| {
        let task = state.tasks.get(task)?;
        Some((node_of(state, task, now)?, task)).filter(|(found, _)| found.id == *node)
    });
    found.collect()
}

/// The nodes that are kept free, each for one task.
#[derive(Debug, Default)]
pub(super) struct Kept {
    nodes: Bits,
    of: BTreeMap<TaskId, u32>,
    /// For how long from now each can take what ends by then for certain, in ms: the longest first.
    spare: Vec<(i64, u32)>,
    /// Those that are kept free from their requester's own other tasks alone, with that requester.
    from_own: Vec<(AccountId, u32)>,
}

impl Kept {
    pub(super) fn of(state: &State, now: Timestamp) -> Self {
        let mut kept = Self::default();
        for (node, task) in in_force(state, now) {
            kept.nodes.insert(node.ordinal);
            kept.of.insert(task.id, node.ordinal);
            let Some(last) = in_the_way(state, task, node) else {
                continue;
            };
            let spare_ms = last.ends.0.saturating_sub(now.0);
            kept.spare
                .extend((spare_ms > 0).then_some((spare_ms, node.ordinal)));
            let is_own = last.requester == task.requester;
            kept.from_own
                .extend(is_own.then_some((task.requester, node.ordinal)));
        }
        kept.spare
            .sort_unstable_by_key(|(ms, i)| (Reverse(*ms), *i));
        kept
    }

    /// How many of the nodes that are kept free take a run that ends within so many ms for certain, whatever it is of: the first of
    /// `spare`.
    fn spared(&self, surely_ms: i64) -> usize {
        self.spare.partition_point(|(ms, _)| surely_ms <= *ms)
    }

    /// The same for a task's run.
    pub(super) fn spared_by(&self, state: &State, task: &Task) -> usize {
        match self.spare.is_empty() {
            true => 0,
            false => self.spared(surely_ms(state, task)),
        }
    }

    /// The task's requester, where a node is kept free from his own tasks alone: others' fit other nodes.
    pub(super) fn own_of(&self, task: &Task) -> Option<AccountId> {
        let mut own = self.from_own.iter().map(|(requester, _)| *requester);
        own.find(|requester| *requester == task.requester)
    }

    /// The node that is kept free for a task.
    pub(super) fn node_of(&self, task: &Task) -> Option<u32> {
        self.of.get(&task.id).copied()
    }

    /// Takes the nodes out that are kept free for others than this task, also from it, and can't take a run that ends within so many ms
    /// for certain.
    pub(super) fn take_out(&self, of: &mut Bits, task: &Task, surely_ms: i64) {
        if self.nodes.is_empty() {
            return;
        }
        let spared = self.spare.iter().take(self.spared(surely_ms));
        let others = self.from_own.iter();
        let others = others.filter(|(requester, _)| *requester != task.requester);
        let back = spared.map(|(_, i)| *i).chain(others.map(|(_, i)| *i));
        let back = back.chain(self.node_of(task));
        let back: Vec<u32> = back.filter(|i| of.contains(*i)).collect();
        of.subtract(&self.nodes);
        for i in back {
            of.insert(i);
        }
    }
}

/// Within how many ms of its lease a run of the task has ended, whatever its node does: fetched, run, compiled and uploaded.
pub(super) fn surely_ms(state: &State, task: &Task) -> i64 {
    let policy = state.policy_of(task);
    let begun = fetch_ms(task, &policy.scheduling).max(policy.accept_ms.into());
    let run = reserved_ms(task).saturating_add(slack_ms(task, &policy.scheduling));
    i64::try_from(begun.saturating_add(run)).unwrap_or(i64::MAX)
}

/// Of the runs that have to end before the node that is kept free for a task has room for it, the one that ends last, were they to take
/// all their time; `None` where there is room now.
fn in_the_way(state: &State, task: &Task, node: &Node) -> Option<Run> {
    let needs = Needs::of(task, &state.policy_of(task));
    let runs = Runs::of(state, node, &[], Timestamp::default());
    runs.leave_room(&needs, node)?.last().copied()
}

/// Until when at the latest a node is kept free: its runs have left room by then, were they to take all their time, and the task gets it.
/// `None` where it is kept free for none.
pub fn kept_free_until(state: &State, node: &Node, now: Timestamp) -> Option<Timestamp> {
    let task = state.tasks.get(state.index.reserved.get(&node.id)?)?;
    node_of(state, task, now).filter(|kept| kept.id == node.id)?;
    Some(in_the_way(state, task, node).map_or(now, |run| run.ends.max(now)))
}

/// The node that is kept free for a task: while it waits for nothing else, and the node could take it if it were idle.
pub(super) fn node_of<'a>(state: &'a State, task: &Task, now: Timestamp) -> Option<&'a Node> {
    let node = state.nodes.get(&task.reserved?)?;
    let waits = task.open_slots() > 0 && held(state, task).is_none();
    let may_run = state.running(task.requester) < state.limits_of(task.requester).running_max;
    let needs = Needs::of(task, &state.policy_of(task));
    (waits && may_run && takes_idle(state, task, &needs, node, &[], now)).then_some(node)
}

/// Whether the node is kept free for another task than this one, and from it: not where its run ends for certain before there is room for
/// the other, nor, for another requester's, where that one waits for a run of his own. Who is in his own way keeps nobody else out.
pub(super) fn kept(state: &State, task: &Task, node: &Node, now: Timestamp) -> Option<Refused> {
    kept_for(state, task, node, now).map(|_| Refused::Reserved)
}

/// The task that a node is kept free for, and from this one.
pub(super) fn kept_for<'a>(
    state: &'a State,
    task: &Task,
    node: &Node,
    now: Timestamp,
) -> Option<&'a Task> {
    let holder = state.index.reserved.get(&node.id)?;
    let holder = state
        .tasks
        .get(holder)
        .filter(|other| other.id != task.id)?;
    node_of(state, holder, now)?;
    let Some(last) = in_the_way(state, holder, node) else {
        return Some(holder);
    };
    let is_in_own_way = last.requester == holder.requester;
    let is_spared = surely_ms(state, task) <= last.ends.0.saturating_sub(now.0);
    let takes = is_spared || (is_in_own_way && task.requester != holder.requester);
    (!takes).then_some(holder)
}

/// Whether the node could take the task if it were idle. What it keeps sealed it keeps then, too.
pub(super) fn takes_idle(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
    now: Timestamp,
) -> bool {
    let room = needs.room.fits_beside(node.sealed_room(), node.room());
    let passes = |reason: Refused| match reason {
        // None is chosen that has no slot when it is idle; one whose operator allows it none later may be allowed some again.
        Refused::NoFreeSlot | Refused::NoRuns => true,
        Refused::Memory
        | Refused::CompileMemory
        | Refused::Storage
        | Refused::GpuMemory
        | Refused::CpuCores => room,
        Refused::Unstaked => may_pledge(needs, node, whole_stake(state, node)),
        Refused::Offline
        | Refused::Draining
        | Refused::Gone
        | Refused::Suspended
        | Refused::Hours
        | Refused::Price
        | Refused::NoAsk
        | Refused::ModuleDenied
        | Refused::NotCompiled
        | Refused::RequesterDenied
        | Refused::NoGpu
        | Refused::GpuBuffer
        | Refused::GpuSpeed
        | Refused::GpuFeature
        | Refused::GpuClass
        | Refused::ClassTooSmall
        | Refused::Speed
        | Refused::Label
        | Refused::OwnNode
        | Refused::SameOwner
        | Refused::AlreadyTried
        | Refused::BackingOff
        | Refused::Reserved => false,
    };
    reasons(state, task, needs, node, given, now).all(passes)
}

/// Whether a task has waited for so long that a node may be kept free for it.
pub(super) fn is_due(task: &Task, policy: &ReservePolicy, now: Timestamp) -> bool {
    let since = task.queued_at.unwrap_or(now);
    policy.most > 0 && now.0.saturating_sub(since.0) >= i64::from(policy.after_ms)
}

/// A task that found no node, and its requester.
pub(super) type Stuck = (AccountId, TaskId);

/// What a plan keeps free at its end.
pub(super) struct Reservations {
    /// Of the requesters who have one, and of those who got one.
    requesters: BTreeSet<AccountId>,
    /// The nodes that are kept free, those of this plan among them.
    pub(super) nodes: BTreeSet<NodeId>,
    most: usize,
}

impl Reservations {
    /// Those in force.
    pub(super) fn of(state: &State, now: Timestamp) -> Self {
        let known = in_force(state, now);
        Self {
            requesters: known.iter().map(|(_, task)| task.requester).collect(),
            nodes: known.iter().map(|(node, _)| node.id).collect(),
            most: state.scheduling().reserve.most as usize,
        }
    }

    /// Of the tasks that found no node, in their order, those that are looked at.
    pub(super) fn looked_at(&self, state: &State, stuck: Vec<Stuck>, now: Timestamp) -> Vec<Stuck> {
        let mut stuck = stuck;
        stuck.retain(|(requester, _)| !self.requesters.contains(requester));
        let most = state.scheduling().reserve.looks_max as usize;
        let (first, most) = window(stuck.len(), most, now);
        stuck.rotate_left(first);
        stuck.truncate(most);
        stuck
    }

    /// Whether one more may be made for the requester.
    pub(super) fn may_have(&self, requester: AccountId) -> bool {
        self.nodes.len() < self.most && !self.requesters.contains(&requester)
    }

    /// One is made.
    pub(super) fn make(&mut self, requester: AccountId, node: NodeId) {
        self.requesters.insert(requester);
        self.nodes.insert(node);
    }
}

/// Of nodes that could take a task if they were idle, in the order of their registration, those that are looked at.
pub(super) fn nodes_looked_at(state: &State, fit: &Bits, now: Timestamp) -> Vec<NodeId> {
    let most = state.scheduling().reserve.nodes_max as usize;
    let all = fit.len() as usize;
    let (first, most) = window(all, most, now);
    let at = |k: usize| fit.select(u32::try_from((first + k) % all).unwrap_or(0));
    let ordinals = (0..most.min(all)).filter_map(at);
    ordinals.filter_map(|i| state.index.fleet.id(i)).collect()
}

/// The node to keep free of those that are looked at: the one whose runs, were they to take all their time, leave room first, the first one of
/// equals; not one that has it too far ahead. `None` where a single run's end would leave it on one of them, so that the task gets it when it is its turn.
pub(super) fn choose<'a>(
    state: &State,
    needs: &Needs,
    nodes: impl IntoIterator<Item = &'a Node>,
    given: Gifts<'_>,
    now: Timestamp,
) -> Option<NodeId> {
    let latest = now.plus_ms(state.scheduling().reserve.idle_max_ms.into());
    let mut best: Option<(Timestamp, &Node)> = None;
    for node in nodes {
        let runs = Runs::of(state, node, given, now);
        if runs.leave_room_without_one(needs, node) {
            return None;
        }
        let ended = runs.leave_room(needs, node).unwrap_or_default();
        let Some(at) = ended.last().map(|run| run.ends) else {
            continue;
        };
        if at <= latest && best.is_none_or(|(first, _)| at < first) {
            best = Some((at, node));
        }
    }
    best.map(|(_, node)| node.id)
}

/// When a node's runs end, were they to take all their time, in that order, and the room that each leaves.
pub(super) fn ends_of(state: &State, node: &Node) -> Vec<(Timestamp, Room)> {
    let runs = Runs::of(state, node, &[], Timestamp::default()).0;
    runs.into_iter().map(|run| (run.ends, run.room)).collect()
}

/// The runs of a node, were they to take all their time: the first one to end first.
struct Runs(Vec<Run>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    ends: Timestamp,
    room: Room,
    requester: AccountId,
}

impl Runs {
    /// Those that it has, and those that a plan gave it.
    fn of(state: &State, node: &Node, given: Gifts<'_>, now: Timestamp) -> Self {
        let running = node.active.iter().filter_map(|id| state.assignment(*id));
        let running = running.map(|(task, run)| {
            let mut room = room_of(state, task);
            room.add(run.compiling);
            (task, run.leased_at, room)
        });
        let gifts = given.iter().filter(|(_, to)| *to == node.id);
        let gifts = gifts.map(|(task, _)| (*task, now, lease_room_of(state, task)));
        let runs = running.chain(gifts);
        let run = |(task, at, room): (&Task, Timestamp, Room)| Run {
            ends: at.plus_ms(i64::try_from(reserved_ms(task)).unwrap_or(i64::MAX)),
            room,
            requester: task.requester,
        };
        let mut runs: Vec<Run> = runs.map(run).collect();
        runs.sort_unstable();
        Self(runs)
    }

    /// Whether the node has room for a task as it is, or once one of them has ended, whichever.
    fn leave_room_without_one(&self, needs: &Needs, node: &Node) -> bool {
        let all = &self.0;
        let without = |n: usize| {
            let left = all.iter().enumerate().filter(|(i, _)| *i != n);
            fits_beside(needs, node, left.map(|(_, run)| run))
        };
        fits_beside(needs, node, all.iter()) || (0..all.len()).any(without)
    }

    /// Those that have ended when they leave room for a task; `None` where they never do.
    fn leave_room(&self, needs: &Needs, node: &Node) -> Option<&[Run]> {
        let left = |ended: usize| self.0.get(ended..).unwrap_or_default();
        let ended = (0..=self.0.len()).find(|n| fits_beside(needs, node, left(*n).iter()))?;
        self.0.get(..ended)
    }
}

/// Whether a node has a slot and room for a task beside some runs, and what it keeps sealed.
fn fits_beside<'a>(needs: &Needs, node: &Node, runs: impl Iterator<Item = &'a Run>) -> bool {
    let (mut taken, mut count) = (node.sealed_room(), 0);
    for run in runs {
        taken.add(run.room);
        count += 1;
    }
    needs.room.fits_beside(taken, node.room()) && count < node.slots()
}
