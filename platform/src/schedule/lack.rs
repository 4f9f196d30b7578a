//! How far a node is from taking a task: by what sort of thing is in the way, and then by how much of it.

use super::{
    Refused,
    filter::machine_room,
    needs::{Needs, floor_power},
};
use crate::{amount::PPM, state::Node};

/// What is in a node's way, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lack {
    worst: Obstacle,
    /// Reasons of that sort.
    count: usize,
    /// The largest part of what the task asks for that is missing, in parts per million.
    missing: u64,
    all: usize,
}

/// Sorts of reasons, by how hard it is to do something about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// It passes by itself.
    Time,
    /// The task asks for more than the node has, or offers less than it asks.
    Amount,
    /// The task asks for another sort of node.
    Sort,
    /// The task can't go there, whatever its definition says.
    Node,
}

impl Lack {
    /// Of all reasons against a node; `idle`: against it as it would be without its runs, of which nothing is told but powers of two.
    pub(super) fn of(reasons: &[Refused], needs: &Needs, node: &Node, idle: bool) -> Self {
        let has_room = !idle && machine_room(needs, node);
        let of_reason = |reason: &Refused| obstacle(*reason, has_room);
        let worst = reasons.iter().map(of_reason).max();
        let worst = worst.unwrap_or(Obstacle::Time);
        let missing = reasons
            .iter()
            .filter(|reason| of_reason(reason) == Obstacle::Amount)
            .map(|reason| missing(*reason, needs, node));
        Self {
            worst,
            count: reasons.iter().filter(|r| of_reason(r) == worst).count(),
            missing: missing.max().unwrap_or(0),
            all: reasons.len(),
        }
    }
}

/// `has_room`: once the node is idle.
fn obstacle(reason: Refused, has_room: bool) -> Obstacle {
    match reason {
        Refused::Offline
        | Refused::NoFreeSlot
        | Refused::BackingOff
        | Refused::Reserved
        | Refused::Hours => Obstacle::Time,
        Refused::Memory
        | Refused::CompileMemory
        | Refused::Storage
        | Refused::GpuMemory
        | Refused::CpuCores
            if has_room =>
        {
            Obstacle::Time
        }
        Refused::Memory
        | Refused::CompileMemory
        | Refused::Storage
        | Refused::GpuMemory
        | Refused::CpuCores
        | Refused::Speed
        | Refused::GpuBuffer
        | Refused::GpuSpeed
        | Refused::Price
        | Refused::Unstaked => Obstacle::Amount,
        Refused::NoAsk
        | Refused::NoGpu
        | Refused::GpuFeature
        | Refused::GpuClass
        | Refused::ClassTooSmall
        | Refused::Label => Obstacle::Sort,
        Refused::Draining
        | Refused::Gone
        | Refused::Suspended
        | Refused::NoRuns
        | Refused::ModuleDenied
        | Refused::NotCompiled
        | Refused::RequesterDenied
        | Refused::OwnNode
        | Refused::SameOwner
        | Refused::AlreadyTried => Obstacle::Node,
    }
}

/// The part of what is asked for that is missing, in parts per million. What the node has is rounded down to a power of two, and what
/// it asks for up: which of two nodes is nearer tells no more of them than that.
fn missing(reason: Refused, needs: &Needs, node: &Node) -> u64 {
    let (run, whole) = (needs.room, node.room());
    let micro = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let (asked, has) = match reason {
        // The two of a software GPU's node, where it has the one.
        Refused::Memory if needs.run.memory_mib <= floor_power(whole.memory_mib) => {
            (needs.run.memories_mib, whole.memories_mib)
        }
        Refused::Memory => (needs.run.memory_mib, whole.memory_mib),
        Refused::CompileMemory => (run.memory_mib, whole.memory_mib),
        Refused::Storage => (run.storage_mib, whole.storage_mib),
        Refused::GpuMemory => (run.gpu_memory_mib, whole.gpu_memory_mib),
        Refused::CpuCores => (run.cpu_cores, whole.cpu_cores),
        Refused::Speed => (needs.mfuel_s, node.mfuel_s()),
        Refused::Price => {
            let ask = micro(node.terms.ask(needs.kind).0).checked_next_power_of_two();
            (ask.unwrap_or(u64::MAX), micro(needs.price.0))
        }
        Refused::GpuBuffer => {
            let gpu = node.profile.gpu.as_ref();
            let has = gpu.and_then(|gpu| gpu.buffer_mib).unwrap_or(0);
            let asked = needs.gpu.as_ref().and_then(|need| need.buffer_mib);
            (asked.unwrap_or(0).into(), has.into())
        }
        Refused::Offline
        | Refused::Draining
        | Refused::Gone
        | Refused::Suspended
        | Refused::NoRuns
        | Refused::NoFreeSlot
        | Refused::Hours
        | Refused::NoAsk
        | Refused::ModuleDenied
        | Refused::NotCompiled
        | Refused::RequesterDenied
        | Refused::NoGpu
        | Refused::GpuSpeed
        | Refused::GpuFeature
        | Refused::GpuClass
        | Refused::ClassTooSmall
        | Refused::Label
        | Refused::OwnNode
        | Refused::SameOwner
        | Refused::AlreadyTried
        | Refused::BackingOff
        | Refused::Reserved
        | Refused::Unstaked => (0, 0),
    };
    let has = if reason == Refused::Price {
        has
    } else {
        floor_power(has)
    };
    let part = u128::from(asked.saturating_sub(has)) * PPM as u128;
    let part = part.checked_div(u128::from(asked)).unwrap_or(0);
    u64::try_from(part).unwrap_or(u64::MAX)
}
