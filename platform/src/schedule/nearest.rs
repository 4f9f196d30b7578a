//! The node that lacks least for a task, and what would help: sizes are told as powers of two, for what a node has is its owner's
//! business.

use super::{
    Refused,
    needs::{Needs, floor_power},
};
use crate::{
    command::Availability,
    state::{Node, Room},
};

/// A reason, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    pub reason: Refused,
    pub help: String,
}

/// Of the nodes that were looked at, the one that lacks least so far.
pub(super) struct Nearest<'a> {
    needs: &'a Needs,
    reserve_mib: u32,
    /// Whether each node is taken as it would be without its runs.
    idle: bool,
    found: Option<((bool, usize), Vec<Remedy>)>,
}

impl<'a> Nearest<'a> {
    pub(super) fn of(needs: &'a Needs, reserve_mib: u32, idle: bool) -> Self {
        Self {
            needs,
            reserve_mib,
            idle,
            found: None,
        }
    }

    /// A node, and all that is in its way.
    pub(super) fn consider(&mut self, node: &Node, all: &[Refused]) {
        // A node that the task can't go to whatever changes is the nearest only where there is no other.
        let lacks = (all.iter().any(|r| r.is_hopeless()), all.len());
        let is_nearer = self.found.as_ref().is_none_or(|(least, _)| lacks < *least);
        if node.availability == Availability::Offline || !is_nearer {
            return;
        }
        let remedies = all.iter().map(|reason| Remedy {
            reason: *reason,
            help: self.help(*reason, node),
        });
        let remedies = remedies.collect();
        self.found = Some((lacks, remedies));
    }

    pub(super) fn remedies(self) -> Option<Vec<Remedy>> {
        self.found.map(|(_, remedies)| remedies)
    }
}

impl Refused {
    /// Nothing that the task's definition says would help.
    fn is_hopeless(self) -> bool {
        match self {
            Self::OwnNode
            | Self::SameOwner
            | Self::AlreadyTried
            | Self::Draining
            | Self::Gone
            | Self::Suspended
            | Self::ModuleDenied
            | Self::RequesterDenied => true,
            Self::Offline
            | Self::NoFreeSlot
            | Self::Hours
            | Self::Price
            | Self::NoAsk
            | Self::NoGpu
            | Self::GpuMemory
            | Self::GpuBuffer
            | Self::GpuSpeed
            | Self::GpuFeature
            | Self::GpuClass
            | Self::CpuCores
            | Self::Speed
            | Self::Memory
            | Self::Storage
            | Self::Label
            | Self::BackingOff
            | Self::Reserved
            | Self::Unstaked => false,
        }
    }
}

impl Nearest<'_> {
    /// What would make the node fit. Sizes are rounded down to a power of two.
    fn help(&self, reason: Refused, node: &Node) -> String {
        let needs = self.needs;
        let reserve_mib = self.reserve_mib;
        let taken = match self.idle {
            true => Room::default(),
            false => node.taken,
        };
        let free = |all: u32, taken: u64| floor_power(u64::from(all).saturating_sub(taken));
        match reason {
        Refused::Offline => "wait until the node is back".into(),
        Refused::NoFreeSlot => "wait: the node is busy, and its turn comes when a run ends".into(),
        Refused::BackingOff => {
            "wait: the node pauses after a fault, and takes such tasks again soon".into()
        }
        Refused::Reserved => {
            "wait: the node is kept free for a task that needs more of it and has waited for longer"
                .into()
        }
        Refused::Memory => format!(
            "lower `/limits/memory_mib` from {} to {} or less{}",
            needs.room.memory_mib,
            free(node.memory_mib(), taken.memory_mib),
            if self.idle { "" } else { ", or wait until other runs end" }
        ),
        Refused::Storage => format!(
            "inputs and outputs take up to {} MiB: lower `/limits/output_mib` or use smaller inputs, so that they fit {} MiB beside the module",
            needs.room.storage_mib.saturating_sub(reserve_mib.into()),
            match self.idle {
                // All that is told of an idle machine is one power of two.
                true => floor_power(node.storage_mib().into()).saturating_sub(reserve_mib.into()),
                false => free(
                    node.storage_mib(),
                    taken.storage_mib.saturating_add(reserve_mib.into())
                ),
            }
        ),
        Refused::Label => {
            "ask for fewer labels in `/qos/labels`, `/qos/labels_any` or `/qos/labels_not`".into()
        }
        Refused::CpuCores => format!(
            "lower `/qos/cpu_cores` from {} to {}",
            needs.cpu_cores,
            floor_power(node.profile.cpu_cores.into())
        ),
        Refused::Speed => match node.mfuel_s() {
            0 => "leave `/qos/min_mfuel_s` out: the node's speed is not measured".into(),
            speed => format!(
                "lower `/qos/min_mfuel_s` from {} to {}",
                needs.mfuel_s,
                floor_power(speed)
            ),
        },
        Refused::Draining | Refused::Gone | Refused::Suspended => {
            "another node has to take it: this one takes no new work".into()
        }
        Refused::Hours => "wait: the node works at certain hours".into(),
        Refused::Price => {
            "offer more in `/economics/pricing`: the node asks for more than is certain to be paid".into()
        }
        Refused::NoAsk => {
            "use the pricing mode `fixed` or `metered`, or wait: the node publishes no ask for this type of task"
                .into()
        }
        Refused::ModuleDenied => {
            "another node has to take it: this one does not run the module".into()
        }
        Refused::RequesterDenied => {
            "another node has to take it: this one does not work for the account".into()
        }
        Refused::GpuBuffer => "lower `/qos/gpu/buffer_mib`, or leave it out".into(),
        Refused::GpuSpeed => "lower `/qos/gpu/min_compute`, or leave it out".into(),
        Refused::NoGpu => "leave `/qos/gpu` out, if the module can do without".into(),
        Refused::GpuMemory => {
            let has = floor_power(node.gpu_memory_mib().into());
            format!("lower `/qos/gpu/memory_mib` to {has}")
        }
        Refused::GpuFeature => "ask for fewer of `/qos/gpu/features`".into(),
        Refused::GpuClass => {
            "name more of `/qos/gpu/classes`, or none; replicas of one task stay in one class"
                .into()
        }
        Refused::OwnNode => {
            "another owner's node has to take it: in an open market nobody runs his own tasks"
                .into()
        }
        Refused::SameOwner => {
            "another owner's node has to take it: this one's has a replica already".into()
        }
        Refused::Unstaked => format!(
            "wait for a node with {} micro-AEV of stake free, offer a lower price, or let a quorum without stake decide: `unstaked` in the sampling method",
            needs.stake
        ),
        Refused::AlreadyTried => {
            "another node has to take it: this one had it, and what it said of the module or its result needs another to confirm it"
                .into()
        }
    }
    }
}
