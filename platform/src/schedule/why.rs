//! Why a task waits: what each node was refused for, which one lacks least, and what would help.
//!
//! It tells a requester about nodes that are not his: counts and rounded sizes, never who they are or what exactly they have.

use std::collections::BTreeMap;

use aevir_events::Timestamp;

use super::{
    Refused,
    filter::reasons,
    hastens_at, held,
    nearest::{Nearest, Remedy},
    needs::{Needs, reserve_mib},
    reserve,
};
use crate::{
    ids::AssignmentId,
    state::{Node, Phase, State, Task},
};

/// Nodes that are looked at for one answer, spread over all of them: about a microsecond each, in which nothing is committed. Of a market
/// of more a part that fits is told to a hundredth or so; what is rare may not be among them, and each second has others.
pub const NODES_MAX: usize = 4_096;

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
    let reserve_mib = reserve_mib(task, &state.policy_of(task).scheduling);
    let mut nearest = Nearest::of(&needs, reserve_mib, false);
    for node in sample(state, now) {
        why.looked_at += 1;
        let all: Vec<Refused> = reasons(state, task, &needs, node, &[], now).collect();
        let Some(first) = all.first() else {
            why.fitting += 1;
            continue;
        };
        *why.refused.entry(*first).or_default() += 1;
        nearest.consider(node, &all);
    }
    // Where nodes fit, nothing about any other one would help.
    why.nearest = nearest.remedies().filter(|_| why.fitting == 0);
}

/// At most [`NODES_MAX`] nodes, evenly from all of them: others in the next second, so that each has its own.
pub(super) fn sample(state: &State, now: Timestamp) -> impl Iterator<Item = &Node> {
    let (first, step) = spread(state.nodes.len(), now);
    state.nodes.values().skip(first).step_by(step)
}

/// The first of so many nodes that is looked at, and how far apart they are.
fn spread(nodes: usize, now: Timestamp) -> (usize, usize) {
    let step = nodes.div_ceil(NODES_MAX).max(1);
    let second = usize::try_from(now.0 / 1_000).unwrap_or(0);
    (second % step, step)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_bounded_number_of_nodes_is_looked_at_and_each_in_its_second() {
        for nodes in [0, 1, NODES_MAX, NODES_MAX + 1, 3 * NODES_MAX, 100_000] {
            let mut seen = BTreeSet::new();
            let (_, step) = spread(nodes, Timestamp(0));
            for second in 0..step as i64 {
                let (first, step) = spread(nodes, Timestamp(second * 1_000 + 999));
                let looked_at: Vec<usize> = (0..nodes).skip(first).step_by(step).collect();
                assert!(looked_at.len() <= NODES_MAX, "{nodes}");
                assert!(looked_at.len() * 2 >= nodes.min(NODES_MAX), "{nodes}");
                seen.extend(looked_at);
            }
            assert_eq!(seen.len(), nodes);
        }
    }
}
