//! The node that lacks least for a task, and what would help: sizes are told as powers of two, for what a node has is its owner's
//! business.

use super::{
    Refused,
    lack::Lack,
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
    reserve_mib: u64,
    /// Whether each node is taken as it would be without its runs.
    idle: bool,
    found: Option<(Lack, Vec<Remedy>)>,
}

impl<'a> Nearest<'a> {
    pub(super) fn of(needs: &'a Needs, reserve_mib: u64, idle: bool) -> Self {
        Self {
            needs,
            reserve_mib,
            idle,
            found: None,
        }
    }

    /// A node, and all that is in its way.
    pub(super) fn consider(&mut self, node: &Node, all: &[Refused]) {
        let lacks = Lack::of(all, self.needs, node, self.idle);
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

impl Nearest<'_> {
    /// What would make the node fit. Sizes are rounded down to a power of two.
    fn help(&self, reason: Refused, node: &Node) -> String {
        let needs = self.needs;
        let reserve_mib = self.reserve_mib;
        let taken = match self.idle {
            true => Room::default(),
            false => node.taken,
        };
        let (run, whole) = (needs.room, node.room());
        let lower = |field: &str, sizes: [u64; 3]| self.lower(&format!("`{field}`"), sizes);
        match reason {
        Refused::Offline => "wait until the node is back".into(),
        Refused::NoRuns => {
            "another node has to take it: this one's operator allows it no run, or no core for one"
                .into()
        }
        Refused::NoFreeSlot => "wait: the node is busy, and its turn comes when a run ends".into(),
        Refused::BackingOff => {
            "wait: the node pauses after a fault, and takes such tasks again soon".into()
        }
        Refused::Reserved => {
            "wait: the node is kept free for a task that needs more of it and has waited for longer"
                .into()
        }
        Refused::Memory => self.lower_memory(node, taken),
        Refused::CompileMemory => self.compile(node, taken),
        Refused::Storage => format!(
            "inputs and outputs take up to {} MiB: lower `/limits/output_mib` or use smaller inputs, so that they fit {} MiB beside the module",
            needs.room.storage_mib.saturating_sub(reserve_mib),
            match self.idle {
                // All that is told of an idle machine is one power of two.
                true => floor_power(whole.storage_mib).saturating_sub(reserve_mib),
                false => floor_power(
                    (whole.storage_mib)
                        .saturating_sub(taken.storage_mib.saturating_add(reserve_mib))
                ),
            }
        ),
        Refused::Label => {
            "ask for fewer labels in `/qos/labels`, `/qos/labels_any` or `/qos/labels_not`".into()
        }
        Refused::CpuCores => lower(
            "/qos/cpu_cores",
            [run.cpu_cores, whole.cpu_cores, taken.cpu_cores],
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
        Refused::NotCompiled => {
            "another node has to take it: this one could not compile the module in its time and memory, and tries again a day later".into()
        }
        Refused::RequesterDenied => {
            "another node has to take it: this one does not work for the account".into()
        }
        Refused::GpuBuffer => "lower `/qos/gpu/buffer_mib`, or leave it out".into(),
        Refused::GpuSpeed => "lower `/qos/gpu/min_compute`, or leave it out".into(),
        Refused::NoGpu => "leave `/qos/gpu` out, if the module can do without".into(),
        Refused::GpuMemory => lower(
            "/qos/gpu/memory_mib",
            [run.gpu_memory_mib, whole.gpu_memory_mib, taken.gpu_memory_mib],
        ),
        Refused::GpuFeature => "ask for fewer of `/qos/gpu/features`".into(),
        Refused::GpuClass => {
            "name more of `/qos/gpu/classes`, or none; replicas of one task stay in one class"
                .into()
        }
        Refused::ClassTooSmall => format!(
            "wait until nodes of {} owners beside you have GPUs of one class, ask for fewer replicas, or name a comparator or a tolerance, by which any class will do",
            needs.class_owners
        ),
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

    fn lower(&self, what: &str, [need, whole, taken]: [u64; 3]) -> String {
        lower(what, need, whole, (!self.idle).then_some(taken))
    }

    /// What helps where a module takes more to be compiled than its run.
    fn compile(&self, node: &Node, taken: Room) -> String {
        let (need, whole) = (self.needs.room.memory_mib, node.room().memory_mib);
        if !self.idle && need <= whole {
            return format!(
                "wait until other runs of the node end: the module needs {need} MiB of memory to be compiled"
            );
        }
        let taken = match node.has_one_memory() {
            true => taken.memories_mib,
            false => taken.memory_mib,
        };
        let has = floor_power(whole.saturating_sub(taken));
        format!(
            "make the module smaller: it needs {need} MiB of memory to be compiled, and the node has {has}"
        )
    }

    /// The same of memory, which is that of the GPU, too, where this is software.
    fn lower_memory(&self, node: &Node, taken: Room) -> String {
        let (run, whole) = (self.needs.run, node.room());
        let has = match self.idle {
            true => floor_power(whole.memory_mib),
            false => whole.memory_mib,
        };
        let of_both = run.memory_mib.saturating_add(taken.memory_mib) <= has;
        if !node.has_one_memory() {
            let sizes = [run.memory_mib, whole.memory_mib, taken.memory_mib];
            self.lower("`/limits/memory_mib`", sizes)
        } else if run.gpu_memory_mib > 0 && of_both {
            let both =
                "`/limits/memory_mib` and `/qos/gpu/memory_mib`, which are one memory there,";
            let sizes = [run.memories_mib, whole.memories_mib, taken.memories_mib];
            self.lower(both, sizes)
        } else {
            let sizes = [run.memory_mib, whole.memory_mib, taken.memories_mib];
            self.lower("`/limits/memory_mib`", sizes)
        }
    }
}

/// What helps where a run takes too much of something: less of it, or a wait where the node has so much beside what is `taken`, none
/// of which counts where it is absent. What is told of the node is rounded down to a power of two.
fn lower(what: &str, need: u64, whole: u64, taken: Option<u64>) -> String {
    let less = |most: u64| format!("lower {what} from {need} to {} or less", floor_power(most));
    match taken {
        Some(taken) if need <= whole => match whole.saturating_sub(taken) {
            0 => "wait until other runs of the node end".into(),
            left => format!("{}, or wait until other runs end", less(left)),
        },
        // Of an idle node no more is told, not even whether it has what is needed between two powers of two.
        Some(_) | None => less(whole),
    }
}
