//! Nodes that are kept free: a task that has waited for long, and fits a node only once several of its runs have ended, would wait for as
//! long as there are small ones to take each room that opens. One node gets nothing else until it is placed (a reservation as in
//! [EASY backfilling](https://doi.org/10.1109/71.932708), Mu'alem and Feitelson, 2001, without the backfilling: how long a node fetches is not known).

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;

use super::{
    Refused,
    bits::Bits,
    filter::{Gifts, machine_room, reasons, room_of},
    held,
    needs::Needs,
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
}

impl Kept {
    pub(super) fn of(state: &State, now: Timestamp) -> Self {
        let mut kept = Self::default();
        for (node, task) in in_force(state, now) {
            kept.nodes.insert(node.ordinal);
            kept.of.insert(task.id, node.ordinal);
        }
        kept
    }

    /// The node that is kept free for a task.
    pub(super) fn node_of(&self, task: &Task) -> Option<u32> {
        self.of.get(&task.id).copied()
    }

    /// Takes the nodes out that are kept free for others than this task.
    pub(super) fn take_out(&self, of: &mut Bits, task: &Task) {
        let own = self.node_of(task).filter(|own| of.contains(*own));
        of.subtract(&self.nodes);
        own.map(|own| of.insert(own));
    }
}

/// The node that is kept free for a task: while it waits for nothing else, and the node could take it if it were idle.
pub(super) fn node_of<'a>(state: &'a State, task: &Task, now: Timestamp) -> Option<&'a Node> {
    let node = state.nodes.get(&task.reserved?)?;
    let waits = task.open_slots() > 0 && held(state, task).is_none();
    let may_run = state.running(task.requester) < state.limits_of(task.requester).running_max;
    let needs = Needs::of(task, &state.policy_of(task));
    (waits && may_run && takes_idle(state, task, &needs, node, &[], now)).then_some(node)
}

/// Whether the node is kept free for another task than this one.
pub(super) fn kept(state: &State, task: &Task, node: &Node, now: Timestamp) -> Option<Refused> {
    let holder = state.index.reserved.get(&node.id)?;
    let holder = state
        .tasks
        .get(holder)
        .filter(|other| other.id != task.id)?;
    node_of(state, holder, now).map(|_| Refused::Reserved)
}

/// Whether the node could take the task if it were idle.
pub(super) fn takes_idle(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
    now: Timestamp,
) -> bool {
    let room = machine_room(needs, node);
    let passes = |reason: Refused| match reason {
        Refused::NoFreeSlot => true,
        Refused::Memory | Refused::Storage => room,
        Refused::Offline
        | Refused::Draining
        | Refused::Gone
        | Refused::Suspended
        | Refused::Hours
        | Refused::Price
        | Refused::NoAsk
        | Refused::Stake
        | Refused::ModuleDenied
        | Refused::RequesterDenied
        | Refused::NoGpu
        | Refused::GpuMemory
        | Refused::GpuBuffer
        | Refused::GpuSpeed
        | Refused::GpuFeature
        | Refused::GpuClass
        | Refused::CpuCores
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
/// equals. `None` where a single run's end would leave it on one of them, so that the task gets it when it is its turn.
pub(super) fn choose<'a>(
    state: &State,
    needs: &Needs,
    nodes: impl IntoIterator<Item = &'a Node>,
    given: Gifts<'_>,
    now: Timestamp,
) -> Option<NodeId> {
    let mut best: Option<(Timestamp, &Node)> = None;
    for node in nodes {
        match roomy_at(state, needs, node, given, now) {
            Roomy::After(at) if best.is_none_or(|(first, _)| at < first) => best = Some((at, node)),
            Roomy::After(_) | Roomy::Never => {}
            Roomy::WithOneRunLess => return None,
        }
    }
    best.map(|(_, node)| node.id)
}

/// When a node has room.
enum Roomy {
    WithOneRunLess,
    /// Several runs have ended by then.
    After(Timestamp),
    Never,
}

/// When the node's runs leave room for a task, were they to take all their time.
fn roomy_at(state: &State, needs: &Needs, node: &Node, given: Gifts<'_>, now: Timestamp) -> Roomy {
    let running = node.active.iter().filter_map(|id| state.assignment(*id));
    let running = running.map(|(task, run)| (task, run.leased_at));
    let gifts = given.iter().filter(|(_, to)| *to == node.id);
    let runs = running.chain(gifts.map(|(task, _)| (*task, now)));
    let ends = |(task, at): (&Task, Timestamp)| {
        let ms = i64::try_from(reserved_ms(task)).unwrap_or(i64::MAX);
        (at.plus_ms(ms), room_of(state, task))
    };
    let mut ends: Vec<(Timestamp, Room)> = runs.map(ends).collect();
    ends.sort_unstable();
    let all: Vec<Room> = ends.iter().map(|(_, room)| *room).collect();
    let slots = node.slots() as usize;
    let fits = |left: &mut dyn Iterator<Item = Room>, runs: usize| {
        let mut room = needs.room;
        left.for_each(|more| room.add(more));
        let is_roomy = room.memory_mib <= node.memory_mib().into()
            && room.storage_mib <= node.storage_mib().into();
        is_roomy && runs < slots
    };
    let without = |n: usize| {
        let mut left = all
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != n)
            .map(|(_, room)| *room);
        fits(&mut left, all.len() - 1)
    };
    if (0..all.len()).any(without) || fits(&mut all.iter().copied(), all.len()) {
        return Roomy::WithOneRunLess;
    }
    let after = (1..=all.len()).find(|k| fits(&mut all[*k..].iter().copied(), all.len() - k));
    let end = after.and_then(|k| ends.get(k.checked_sub(1)?));
    end.map_or(Roomy::Never, |(at, _)| Roomy::After(*at))
}
