//! Why a task waits: what each node was refused for, which one lacks least, and what would help.
//!
//! It tells a requester about nodes that are not his: counts and rounded sizes, never who they are or what exactly they have.

use std::collections::BTreeMap;

use aevir_events::Timestamp;

use super::{
    Refused,
    filter::reasons,
    hastens_at, held,
    needs::{Needs, floor_power},
    reserve,
};
use crate::{
    command::Availability,
    ids::AssignmentId,
    state::{Node, Phase, State, Task},
};

/// Nodes that are looked at for one answer, spread over all of them: some ms of work at most.
pub const NODES_MAX: usize = 20_000;

/// What stands between a task and its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// How many nodes there are, and how many of them were looked at.
    pub nodes: usize,
    pub looked_at: usize,
    /// Nodes that could take it now.
    pub fitting: usize,
    /// How many of the others each filter refuses first.
    pub refused: BTreeMap<Refused, usize>,
    /// The node that lacks least: all that is in its way, each with what would help.
    pub nearest: Option<Vec<Remedy>>,
    /// What it waits for otherwise.
    pub waits_for: WaitsFor,
    /// The runs whose commitments its next replica waits for, where they go one after the other.
    pub awaits: Vec<AssignmentId>,
    /// When the replicas that wait are placed at once, so that it is not late for them.
    pub at_once_from: Option<Timestamp>,
}

/// A reason, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    pub reason: Refused,
    pub help: String,
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// Tasks that it depends on.
    Dependencies,
    /// A node that can take it.
    Node,
    /// A node's other runs to end: it is kept free for the task.
    Room,
    /// Its turn: nodes could take it.
    Turn,
    /// Its requester's other runs: no more may run at once.
    Quota,
    /// An administrator: its requester, its module or a content of it is suspended.
    Release,
    /// The commitment of a run before the next replica is drawn.
    Commitment,
    /// Its runs.
    Runs,
    /// The nodes' reveals.
    Reveals,
    /// The verifiers of its result, on tasks of their own.
    Verifiers,
    /// Nothing: it has ended.
    Nothing,
}

impl WaitsFor {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::Node => "node",
            Self::Room => "room",
            Self::Turn => "turn",
            Self::Quota => "quota",
            Self::Release => "release",
            Self::Commitment => "commitment",
            Self::Runs => "runs",
            Self::Reveals => "reveals",
            Self::Verifiers => "verifiers",
            Self::Nothing => "nothing",
        }
    }
}

/// Why a task waits now.
pub fn why(state: &State, task: &Task, now: Timestamp) -> Why {
    let mut why = Why {
        nodes: state.nodes.len(),
        looked_at: 0,
        fitting: 0,
        refused: BTreeMap::new(),
        nearest: None,
        waits_for: WaitsFor::Nothing,
        awaits: Vec::new(),
        at_once_from: hastens_at(state, task),
    };
    if task.open_slots() > 0 {
        look(state, task, now, &mut why);
    }
    why.waits_for = waits_for(state, task, &why);
    if why.waits_for == WaitsFor::Node && reserve::node_of(state, task, now).is_some() {
        why.waits_for = WaitsFor::Room;
    }
    if why.waits_for == WaitsFor::Commitment {
        why.awaits = task.active().map(|run| run.id).collect();
    }
    why
}

fn waits_for(state: &State, task: &Task, why: &Why) -> WaitsFor {
    let limits = state.limits_of(task.requester);
    match task.phase {
        Phase::Created => WaitsFor::Dependencies,
        Phase::Queued | Phase::Running if task.missing() == 0 => WaitsFor::Runs,
        Phase::Queued | Phase::Running if task.open_slots() == 0 => WaitsFor::Commitment,
        Phase::Queued | Phase::Running => {
            if held(state, task).is_some() {
                WaitsFor::Release
            } else if state.running(task.requester) >= limits.running_max {
                WaitsFor::Quota
            } else if why.fitting > 0 {
                WaitsFor::Turn
            } else {
                WaitsFor::Node
            }
        }
        Phase::Verifying { .. } => WaitsFor::Reveals,
        Phase::Inspecting => WaitsFor::Verifiers,
        Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => WaitsFor::Nothing,
    }
}

/// Holds the task against nodes spread over all of them.
fn look(state: &State, task: &Task, now: Timestamp, why: &mut Why) {
    let needs = Needs::of(task, &state.policy_of(task));
    let reserve_mib = state.policy_of(task).scheduling.storage_reserve_mib;
    let mut nearest: Option<((bool, usize), Vec<Remedy>)> = None;
    for node in sample(state) {
        why.looked_at += 1;
        let all: Vec<Refused> = reasons(state, task, &needs, node, &[], now).collect();
        let Some(first) = all.first() else {
            why.fitting += 1;
            continue;
        };
        *why.refused.entry(*first).or_default() += 1;
        // A node that the task can't go to whatever changes is the nearest only where there is no other.
        let hopeless = |r: &Refused| {
            matches!(
                r,
                Refused::OwnNode
                    | Refused::SameOwner
                    | Refused::AlreadyTried
                    | Refused::Draining
                    | Refused::Gone
                    | Refused::Suspended
                    | Refused::ModuleDenied
                    | Refused::RequesterDenied
            )
        };
        let lacks = (all.iter().any(hopeless), all.len());
        if node.availability == Availability::Online
            && nearest.as_ref().is_none_or(|(least, _)| lacks < *least)
        {
            let remedies = all.iter().map(|reason| Remedy {
                reason: *reason,
                help: help(*reason, &needs, node, reserve_mib),
            });
            nearest = Some((lacks, remedies.collect()));
        }
    }
    why.nearest = nearest.map(|(_, remedies)| remedies);
}

/// At most [`NODES_MAX`] nodes, evenly from all of them.
pub(super) fn sample(state: &State) -> impl Iterator<Item = &Node> {
    let step = state.nodes.len().div_ceil(NODES_MAX).max(1);
    state.nodes.values().step_by(step)
}

/// What would make the node fit. Sizes are rounded down to a power of two: what a node has is its owner's business.
fn help(reason: Refused, needs: &Needs, node: &Node, reserve_mib: u32) -> String {
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
            "lower `/limits/memory_mib` from {} to {} or less, or wait until other runs end",
            needs.room.memory_mib,
            free(node.memory_mib(), node.taken.memory_mib)
        ),
        Refused::Storage => format!(
            "inputs and outputs take up to {} MiB: lower `/limits/output_mib` or use smaller inputs, so that they fit {} MiB beside the module",
            needs.room.storage_mib.saturating_sub(reserve_mib.into()),
            free(
                node.storage_mib(),
                node.taken.storage_mib.saturating_add(reserve_mib.into())
            )
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
        Refused::Stake => {
            "wait: verifiers are to have more stake free than the node has".into()
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
        Refused::AlreadyTried => {
            "another node has to take it: this one had it, and what it said of the module or its result needs another to confirm it"
                .into()
        }
    }
}
