//! Which nodes can't take a task, and why: the first reason found, from cheap to dear.

use aevir_events::Timestamp;

use super::{Given, owners_on, terms};
use crate::{
    command::Availability,
    definition::TaskDefinition,
    state::{Node, Stage, State, Task},
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
    NoFreeSlot,
    /// Outside the hours of its terms.
    Hours,
    /// The task pays less than it asks for.
    Price,
    /// Its terms take no such module.
    ModuleDenied,
    /// Its terms take nothing of this requester.
    RequesterDenied,
    NoGpu,
    GpuMemory,
    GpuFeature,
    /// GPU results compare bitwise within one class, and another one has begun.
    GpuClass,
    Memory,
    Storage,
    Label,
    /// It is the requester's own.
    OwnNode,
    /// Its owner has another replica.
    SameOwner,
    /// It has, or had, a replica of this task, or failed it.
    AlreadyTried,
    BackingOff,
}

impl Refused {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::Gone => "gone",
            Self::Suspended => "suspended",
            Self::NoFreeSlot => "no-free-slot",
            Self::Hours => "hours",
            Self::Price => "price",
            Self::ModuleDenied => "module-denied",
            Self::RequesterDenied => "requester-denied",
            Self::NoGpu => "no-gpu",
            Self::GpuMemory => "gpu-memory",
            Self::GpuFeature => "gpu-feature",
            Self::GpuClass => "gpu-class",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Label => "label",
            Self::OwnNode => "own-node",
            Self::SameOwner => "same-owner",
            Self::AlreadyTried => "already-tried",
            Self::BackingOff => "backing-off",
        }
    }
}

/// Why this node can't take this task now; `None` when it can.
pub fn refusal(state: &State, task: &Task, node: &Node, now: Timestamp) -> Option<Refused> {
    refusal_given(state, task, node, &Given::default(), now)
}

pub(super) fn refusal_given(
    state: &State,
    task: &Task,
    node: &Node,
    given: &Given,
    now: Timestamp,
) -> Option<Refused> {
    if node.availability == Availability::Offline {
        return Some(Refused::Offline);
    }
    if let Some(refused) = terms::standing(state, node) {
        return Some(refused);
    }
    if given.slots_left(node) == 0 {
        return Some(Refused::NoFreeSlot);
    }
    if node.record(task.definition.kind).backoff_until > now {
        return Some(Refused::BackingOff);
    }
    let definition = &task.definition;
    terms::hours(node, now)
        .or_else(|| terms::price(node, definition))
        .or_else(|| terms::module(node, definition))
        .or_else(|| terms::requester(node, task))
        .or_else(|| room(state, task, node, given))
        .or_else(|| capability(definition, node))
        .or_else(|| relation(state, task, node, given))
}

/// Whether the run fits beside the node's other runs.
fn room(state: &State, task: &Task, node: &Node, given: &Given) -> Option<Refused> {
    let mut needed = given.room_taken(state, node);
    needed.add(task);
    if needed.memory_mib > node.memory_mib().into() {
        return Some(Refused::Memory);
    }
    (needed.storage_mib > node.storage_mib().into()).then_some(Refused::Storage)
}

fn capability(definition: &TaskDefinition, node: &Node) -> Option<Refused> {
    let profile = &node.profile;
    if definition
        .qos
        .labels
        .iter()
        .any(|(name, value)| profile.labels.get(name) != Some(value))
    {
        return Some(Refused::Label);
    }
    let need = definition.qos.gpu.as_ref()?;
    let Some(gpu) = &profile.gpu else {
        return Some(Refused::NoGpu);
    };
    if node.gpu_memory_mib() < need.memory_mib {
        return Some(Refused::GpuMemory);
    }
    need.features
        .iter()
        .any(|f| !gpu.features.contains(f))
        .then_some(Refused::GpuFeature)
}

fn relation(state: &State, task: &Task, node: &Node, given: &Given) -> Option<Refused> {
    let tried = task
        .assignments
        .values()
        .any(|a| a.node == node.id && counts_as_tried(&a.stage));
    if tried || given.nodes_on(task.id).any(|n| n == node.id) {
        return Some(Refused::AlreadyTried);
    }
    if !state.is_private_market() {
        if node.owner == task.requester {
            return Some(Refused::OwnNode);
        }
        if owners_on(state, task, given).contains(&node.owner) {
            return Some(Refused::SameOwner);
        }
    }
    if task.definition.qos.gpu.is_some() && task.definition.sampling().replicas > 1 {
        let class = replica_class(state, task, given);
        return class
            .filter(|class| node.gpu_class() != Some(*class))
            .map(|_| Refused::GpuClass);
    }
    None
}

/// A lost lease may be tried again by the same node, once its back-off is over; nothing else may.
fn counts_as_tried(stage: &Stage) -> bool {
    match stage {
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Committed(_)
        | Stage::Revealed(_)
        | Stage::Accepted(_)
        | Stage::Refused { .. }
        | Stage::Failed { .. } => true,
        Stage::Lost { .. } | Stage::Withdrawn => false,
    }
}

/// The GPU class that the task's replicas have begun on.
fn replica_class<'a>(state: &'a State, task: &Task, given: &Given) -> Option<&'a str> {
    let placed = task
        .assignments
        .values()
        .filter(|a| a.is_replica())
        .map(|a| a.node);
    placed
        .chain(given.nodes_on(task.id))
        .find_map(|n| state.nodes.get(&n)?.gpu_class())
}
