//! Which nodes can't take a task, and why: the first reason found, from cheap to dear.
//!
//! This is the rule in its readable form, one node at a time. Plans apply it to all nodes at once ([`super::fleet`]), and a
//! property test holds the two equal.

use std::collections::BTreeSet;

use aevir_events::Timestamp;

use super::{needs::Needs, reserve, terms};
use crate::{
    amount::Amount,
    command::{Availability, LossReason},
    decide::stake_due,
    definition::GpuNeed,
    ids::NodeId,
    state::{Node, Room, Stage, State, Task},
};

/// Why a node can't take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    Offline,
    /// Drained by its operator.
    Draining,
    /// It left, or was revoked.
    Gone,
    /// It, or its owner, is suspended.
    Suspended,
    /// Its terms allow it no run, or no core for one.
    NoRuns,
    NoFreeSlot,
    /// Outside the hours of its terms.
    Hours,
    /// The task pays less than it asks for.
    Price,
    /// The task pays what nodes ask for, and it publishes no ask for the type.
    NoAsk,
    /// Its terms take no such module.
    ModuleDenied,
    /// It could not compile the module lately.
    NotCompiled,
    /// Its terms take nothing of this requester.
    RequesterDenied,
    NoGpu,
    GpuMemory,
    /// Its largest buffer is smaller than the task asks for, or not told.
    GpuBuffer,
    /// Its arithmetic is slower than the task asks for, or not measured.
    GpuSpeed,
    GpuFeature,
    /// GPU results compare bitwise within one class, and another one has begun, or the task names others.
    GpuClass,
    /// Its GPU class has nodes at work of fewer owners, beside the requester, than the sample has replicas.
    ClassTooSmall,
    CpuCores,
    /// Slower than the task asks for, or not measured.
    Speed,
    Memory,
    /// It would have the memory for the run, and has too little for compiling its module before.
    CompileMemory,
    Storage,
    Label,
    /// It is the requester's own.
    OwnNode,
    /// Its owner has another replica.
    SameOwner,
    /// It has, or had, a replica of this task, or failed it.
    AlreadyTried,
    BackingOff,
    /// It is kept free for a task that has waited for longer.
    Reserved,
    /// It has less stake free than this replica needs behind it.
    Unstaked,
}

impl Refused {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::Gone => "gone",
            Self::Suspended => "suspended",
            Self::NoRuns => "no-runs",
            Self::NoFreeSlot => "no-free-slot",
            Self::Hours => "hours",
            Self::Price => "price",
            Self::NoAsk => "no-ask",
            Self::ModuleDenied => "module-denied",
            Self::NotCompiled => "not-compiled",
            Self::RequesterDenied => "requester-denied",
            Self::NoGpu => "no-gpu",
            Self::GpuMemory => "gpu-memory",
            Self::GpuBuffer => "gpu-buffer",
            Self::GpuSpeed => "gpu-speed",
            Self::GpuFeature => "gpu-feature",
            Self::GpuClass => "gpu-class",
            Self::ClassTooSmall => "class-too-small",
            Self::CpuCores => "cpu-cores",
            Self::Speed => "speed",
            Self::Memory => "memory",
            Self::CompileMemory => "compile-memory",
            Self::Storage => "storage",
            Self::Label => "label",
            Self::OwnNode => "own-node",
            Self::SameOwner => "same-owner",
            Self::AlreadyTried => "already-tried",
            Self::BackingOff => "backing-off",
            Self::Reserved => "reserved",
            Self::Unstaked => "unstaked",
        }
    }
}

/// What a plan has given out before the placement at hand, in the order of giving.
pub(super) type Gifts<'a> = &'a [(&'a Task, NodeId)];

/// Why this node can't take this task now; `None` when it can.
pub fn refusal(state: &State, task: &Task, node: &Node, now: Timestamp) -> Option<Refused> {
    let needs = Needs::of(task, &state.policy_of(task));
    refusal_given(state, task, &needs, node, &[], now)
}

/// Whether a node could take a task before there were draws: runs shared neither cores nor the GPU's memory then, a software GPU's memory was
/// none of the machine's, what was sealed took nothing, and a node had the slots that it said.
pub(crate) fn fitted_of_old(state: &State, task: &Task, node: &Node, now: Timestamp) -> bool {
    let needs = Needs::of(task, &state.policy_of(task));
    let had_slot = node.active.len() < node.claimed_slots() as usize;
    let of_old = |room: Room| Room {
        memory_mib: room.memory_mib,
        storage_mib: room.storage_mib,
        ..Room::default()
    };
    let mut taken = node.taken;
    taken.remove(node.sealed_room());
    let had_room = of_old(needs.run).fits_beside(of_old(taken), node.room());
    let is_shared = |reason| matches!(reason, Refused::GpuMemory | Refused::CpuCores);
    let passes = |reason| {
        matches!(reason, Refused::NoFreeSlot | Refused::NoRuns) && had_slot
            || matches!(reason, Refused::CompileMemory | Refused::ClassTooSmall)
            || is_shared(reason) && !machine_lacks(&needs, node, reason)
            || matches!(reason, Refused::Memory | Refused::Storage) && had_room
    };
    reasons(state, task, &needs, node, &[], now).all(passes)
}

/// The same, after a plan has given something out.
pub(super) fn refusal_given(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
    now: Timestamp,
) -> Option<Refused> {
    reasons(state, task, needs, node, given, now).next()
}

/// All that is in the way, from cheap to dear.
pub(super) fn reasons<'a>(
    state: &'a State,
    task: &'a Task,
    needs: &'a Needs,
    node: &'a Node,
    given: Gifts<'a>,
    now: Timestamp,
) -> impl Iterator<Item = Refused> + 'a {
    let offline = node.availability == Availability::Offline;
    let runs = terms::runs(node);
    let is_full = runs.is_none() && free_slots(node, given) == 0;
    let first: [Option<Refused>; 10] = [
        terms::standing(state, node),
        offline.then_some(Refused::Offline),
        runs,
        is_full.then_some(Refused::NoFreeSlot),
        (node.backoff_until(needs.kind) > now).then_some(Refused::BackingOff),
        reserve::kept(state, task, node, now),
        terms::hours(node, now),
        terms::price(node, needs),
        terms::party(node, task),
        could_not_compile(state, task, node, now).then_some(Refused::NotCompiled),
    ];
    // The dearer checks are made only where they are asked for.
    let beside = std::iter::once_with(move || room(state, needs, node, given));
    let later = [
        |(state, task, needs, node, given): Asked<'a>| relation(state, task, needs, node, given),
        |(state, task, needs, node, given): Asked<'a>| stake(state, task, needs, node, given),
    ];
    let asked: Asked<'a> = (state, task, needs, node, given);
    first
        .into_iter()
        .flatten()
        .chain(capability(needs, node))
        .chain(beside.flatten())
        .chain(later.into_iter().filter_map(move |check| check(asked)))
}

/// Whether it was the node that could not compile the task's module lately.
fn could_not_compile(state: &State, task: &Task, node: &Node, now: Timestamp) -> bool {
    let module = state.modules.get(&task.definition.module);
    module.is_some_and(|module| module.bars(node.id, now))
}

/// What a check looks at.
type Asked<'a> = (&'a State, &'a Task, &'a Needs, &'a Node, Gifts<'a>);

/// Slots that are left after what was given.
pub(super) fn free_slots(node: &Node, given: Gifts<'_>) -> u32 {
    let taken = given.iter().filter(|(_, to)| *to == node.id).count();
    node.free_slots().saturating_sub(taken as u32)
}

/// What the node has too little of beside its other runs.
fn room(
    state: &State,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
) -> impl Iterator<Item = Refused> + use<> {
    let mut taken = node.taken;
    for (task, _) in given.iter().filter(|(_, to)| *to == node.id) {
        taken.add(lease_room_of(state, task));
    }
    lacks(needs, taken, node)
}

/// What the node has too little of beside what is taken. One without a GPU lacks that, and not its memory.
fn lacks(needs: &Needs, taken: Room, node: &Node) -> impl Iterator<Item = Refused> + use<> {
    let (own, whole) = (needs.room, node.room());
    let alone = |room: &Room| room.fits_beside(taken, whole);
    let lacks_run = !alone(&Room {
        memory_mib: needs.run.memory_mib,
        memories_mib: needs.run.memories_mib,
        ..Room::default()
    });
    let of_memory = match lacks_run {
        true => Refused::Memory,
        false => Refused::CompileMemory,
    };
    let parts = [
        (
            of_memory,
            Room {
                memory_mib: own.memory_mib,
                memories_mib: own.memories_mib,
                ..Room::default()
            },
        ),
        (Refused::Storage, Room::storage(own.storage_mib)),
        (
            Refused::GpuMemory,
            Room {
                gpu_memory_mib: own.gpu_memory_mib,
                ..Room::default()
            },
        ),
        (
            Refused::CpuCores,
            Room {
                cpu_cores: own.cpu_cores,
                ..Room::default()
            },
        ),
    ];
    let has_gpu = node.profile.gpu.is_some();
    let lacking = parts.map(|(reason, part)| {
        let counts = has_gpu || reason != Refused::GpuMemory;
        (counts && !alone(&part)).then_some(reason)
    });
    lacking.into_iter().flatten()
}

/// What a lease of a task holds until its run begins, under the policy that the task was created under.
pub(crate) fn lease_room_of(state: &State, task: &Task) -> Room {
    super::needs::lease_room(task, &state.policy_of(task).scheduling)
}

/// What of that is more than its run's room: memory for compiling its module.
pub(crate) fn compiling_of(state: &State, task: &Task) -> Room {
    let mut more = lease_room_of(state, task);
    more.remove(room_of(state, task));
    more
}

/// The room of a task's run, under the policy that the task was created under.
pub(crate) fn room_of(state: &State, task: &Task) -> Room {
    super::needs::room(task, &state.policy_of(task).scheduling)
}

/// Whether the machine is what the task needs, whatever it is doing.
pub(super) fn capable(needs: &Needs, node: &Node) -> bool {
    capability(needs, node).next().is_none()
}

/// Whether the run would fit an idle machine.
pub(super) fn machine_room(needs: &Needs, node: &Node) -> bool {
    needs.room.fits_beside(Room::default(), node.room())
}

/// Whether the run would have too little of something on an idle machine, too.
pub(super) fn machine_lacks(needs: &Needs, node: &Node, reason: Refused) -> bool {
    lacks(needs, Room::default(), node).any(|lacks| lacks == reason)
}

/// Whether the run, or compiling its module, would have too little memory on an idle machine, too.
pub(super) fn machine_lacks_memory(needs: &Needs, node: &Node) -> Option<Refused> {
    let of_memory = |reason: &Refused| matches!(reason, Refused::Memory | Refused::CompileMemory);
    lacks(needs, Room::default(), node).find(of_memory)
}

fn capability(needs: &Needs, node: &Node) -> impl Iterator<Item = Refused> + use<> {
    let profile = &node.profile;
    let has = |name: &String, value: &String| profile.labels.get(name) == Some(value);
    let one_of = |(name, values): (&String, &Vec<String>)| values.iter().any(|v| has(name, v));
    let is_labelled = needs.labels.iter().all(|(name, value)| has(name, value))
        && needs.labels_any.iter().all(one_of)
        && !needs.labels_not.iter().any(one_of);
    let is_slow = node.mfuel_s() < needs.mfuel_s || node.shown_mfuel_s() < needs.shown_mfuel_s;
    let of_gpu = needs.gpu.as_ref().map(|need| gpu(need, node));
    [
        (!is_labelled).then_some(Refused::Label),
        is_slow.then_some(Refused::Speed),
    ]
    .into_iter()
    .chain(of_gpu.into_iter().flatten())
    .flatten()
}

fn gpu(need: &GpuNeed, node: &Node) -> [Option<Refused>; 4] {
    let Some(gpu) = &node.profile.gpu else {
        return [Some(Refused::NoGpu), None, None, None];
    };
    let buffer_mib = gpu.buffer_mib.unwrap_or(0);
    let is_slow = need.min_compute.is_some() && node.counted_compute() < need.min_compute;
    let is_other = !need.classes.is_empty() && !need.classes.contains(&gpu.class);
    let lacks = need.features.iter().any(|f| !gpu.features.contains(f));
    [
        (buffer_mib < need.buffer_mib.unwrap_or(0)).then_some(Refused::GpuBuffer),
        is_slow.then_some(Refused::GpuSpeed),
        is_other.then_some(Refused::GpuClass),
        lacks.then_some(Refused::GpuFeature),
    ]
}

/// Whether who the node is, and whose, stands in the way.
fn relation(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
) -> Option<Refused> {
    if tried(task, given).any(|n| n == node.id) {
        return Some(Refused::AlreadyTried);
    }
    if !state.is_private(task) {
        if node.owner == task.requester {
            return Some(Refused::OwnNode);
        }
        let owners: BTreeSet<_> = replicas(task, given)
            .filter_map(|n| state.nodes.get(&n))
            .map(|n| n.owner)
            .collect();
        if owners.contains(&node.owner) {
            return Some(Refused::SameOwner);
        }
    }
    match replica_class(state, task, given) {
        Some(class) => (node.gpu_class() != Some(class)).then_some(Refused::GpuClass),
        None => is_small(state, task, needs, node).then_some(Refused::ClassTooSmall),
    }
}

/// Whether a sample that compares within one GPU class can't begin in the node's, for too few owners have nodes of it.
fn is_small(state: &State, task: &Task, needs: &Needs, node: &Node) -> bool {
    let classes = &state.index.fleet.classes.at_work;
    let has = |class| classes.has_owners(class, task.requester, needs.class_owners);
    needs.class_owners > 0 && !node.gpu_class().is_some_and(has)
}

/// Whether the node has enough stake free for a replica that needs some behind it, which the next one may not after what a plan gave.
fn stake(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    given: Gifts<'_>,
) -> Option<Refused> {
    let before = given_to(task, given).count();
    let suffices = before > 0 && !task.next_is_staked(&state.policy_of(task), before);
    if needs.stake == 0 || suffices {
        return None;
    }
    let gifts = given.iter().filter(|(_, to)| *to == node.id);
    let free = gifts.fold(free_stake(state, node), |free, (task, _)| {
        after_pledge(free, pledge(state, task, node))
    });
    (!may_pledge(needs, node, free)).then_some(Refused::Unstaked)
}

/// Whether so much stake is what a replica needs behind it: none is behind one that earns nothing.
pub(super) fn may_pledge(needs: &Needs, node: &Node, stake: u64) -> bool {
    let asks_nothing = needs.by_ask && node.terms.ask(needs.kind) <= Amount::ZERO;
    stake >= needs.stake && !(needs.stake > 0 && asks_nothing)
}

/// All of a node's stake, in micro-AEV.
pub(super) fn whole_stake(state: &State, node: &Node) -> u64 {
    u64::try_from(state.stake(node.id).0).unwrap_or(0)
}

/// Stake of a node that covers nothing yet, in micro-AEV.
pub(super) fn free_stake(state: &State, node: &Node) -> u64 {
    u64::try_from(state.free_stake(node.id).0).unwrap_or(0)
}

/// What the node pledges for a replica of the task if it has that free, in micro-AEV.
pub(super) fn pledge(state: &State, task: &Task, node: &Node) -> u64 {
    let definition = &task.definition;
    let price = definition.asked_price(node.terms.ask(definition.kind));
    let price = price.unwrap_or(definition.economics.pricing.max_price());
    let due = stake_due(task, price, &state.policy_of(task));
    due.0.unsigned_abs()
}

/// What is left free after that: all of it where it is too little.
pub(super) fn after_pledge(free: u64, due: u64) -> u64 {
    free.checked_sub(due).unwrap_or(free)
}

/// The nodes that a task can't go to for it was there. What a node lost, or could not run for its own sake, it may take again
/// once its back-off is over, and a run that it gave back once it is there again; nothing else.
pub(super) fn tried<'a>(task: &'a Task, given: Gifts<'a>) -> impl Iterator<Item = NodeId> + 'a {
    let before = task
        .assignments
        .values()
        .filter(|a| counts_as_tried(&a.stage));
    before
        .map(|a| a.node)
        .chain(task.involved())
        .chain(given_to(task, given))
}

fn counts_as_tried(stage: &Stage) -> bool {
    match stage {
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Committed(_)
        | Stage::Shown(_)
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. } => true,
        // Another node may show whether it is the module; and what can't be compiled here to-day can't be for this task.
        Stage::Failed { class, .. } => !class.blames_node(),
        // Who sealed a result and kept it has had its chance.
        Stage::Lost { reason, .. } => *reason == LossReason::NotRevealed,
        Stage::Returned { .. } | Stage::Withdrawn => false,
    }
}

/// The nodes of a task's replicas, oldest first.
pub(super) fn replicas<'a>(task: &'a Task, given: Gifts<'a>) -> impl Iterator<Item = NodeId> + 'a {
    let before = task.assignments.values().filter(|a| a.is_replica());
    task.involved()
        .chain(before.map(|a| a.node))
        .chain(given_to(task, given))
}

fn given_to<'a>(task: &'a Task, given: Gifts<'a>) -> impl Iterator<Item = NodeId> + 'a {
    let gifts = given.iter().filter(|(of, _)| of.id == task.id);
    gifts.map(|(_, to)| *to)
}

/// The GPU class that a sampled task's replicas have begun on: the one that the oldest was leased for, whatever its node is by
/// now; that of the first node to which this plan gave one, where none was leased before.
pub(super) fn replica_class<'a>(
    state: &'a State,
    task: &'a Task,
    given: Gifts<'_>,
) -> Option<&'a str> {
    let definition = &task.definition;
    // What a module compares may come from any.
    if definition.qos.gpu.is_none() || !task.is_sampled() || definition.comparison().is_some() {
        return None;
    }
    if let Some(class) = task.bound_class() {
        return Some(class);
    }
    let mut live = task.assignments.values().filter(|a| a.is_replica());
    let begun = live.find_map(|a| a.hardware.gpu());
    begun.or_else(|| given_to(task, given).find_map(|n| state.nodes.get(&n)?.gpu_class()))
}
