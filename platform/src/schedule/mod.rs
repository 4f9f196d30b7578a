//! Placement: which node gets which replica. A pure function of the state and the decision's context.
//!
//! Filter on capability, rank by reliability, points and load, draw among near-equals. Replicas of a sampled
//! task are drawn among all nodes that fit, so that rank can't be gamed into a pair.

mod filter;
mod rank;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::{Context, Timestamp};

use crate::{
    event::{AssignmentLeased, Event},
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    report::BlobRef,
    state::{Node, State, Task},
};

pub use filter::{Refused, refusal};
pub use terms::{Held, held};

/// Placements of one plan: the next one follows at once.
const PLACEMENTS_MAX: usize = 256;

/// Memory and storage of runs, in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    memory_mib: u64,
    storage_mib: u64,
}

/// Room that a run needs beside inputs and outputs, in MiB: module and compiled artefact.
const STORAGE_RESERVE_MIB: u64 = 64;
const MIB: u64 = 1024 * 1024;

impl Room {
    /// Adds the most that a task's run may take.
    fn add(&mut self, task: &Task) {
        let limits = &task.definition.limits;
        let inputs: u64 = task
            .inputs
            .iter()
            .map(|i| i.size.0.div_ceil(MIB))
            .fold(0, u64::saturating_add);
        let outputs = u64::from(limits.output_mib);
        let storage = inputs
            .saturating_add(outputs)
            .saturating_add(STORAGE_RESERVE_MIB);
        self.memory_mib = self.memory_mib.saturating_add(limits.memory_mib.into());
        self.storage_mib = self.storage_mib.saturating_add(storage);
    }
}

/// What a plan has given out so far.
#[derive(Debug, Default)]
pub(crate) struct Given {
    slots: BTreeMap<NodeId, u32>,
    room: BTreeMap<NodeId, Room>,
    on_task: BTreeMap<TaskId, BTreeSet<NodeId>>,
}

impl Given {
    fn give(&mut self, task: &Task, node: NodeId) {
        *self.slots.entry(node).or_default() += 1;
        self.room.entry(node).or_default().add(task);
        self.on_task.entry(task.id).or_default().insert(node);
    }

    /// What the node's other runs may use: those under way and those given out by this plan.
    fn room_taken(&self, state: &State, node: &Node) -> Room {
        let mut taken = self.room.get(&node.id).copied().unwrap_or_default();
        let active = node.active.iter().filter_map(|id| state.task_of(*id));
        active.for_each(|task| taken.add(task));
        taken
    }

    fn slots_left(&self, node: &Node) -> u32 {
        node.free_slots()
            .saturating_sub(self.slots.get(&node.id).copied().unwrap_or_default())
    }

    fn nodes_on(&self, task: TaskId) -> impl Iterator<Item = NodeId> + '_ {
        self.on_task.get(&task).into_iter().flatten().copied()
    }
}

/// Places waiting replicas on free nodes, oldest task first.
pub(crate) fn plan(state: &State, context: &Context) -> Vec<Event> {
    let mut ids = context.ids();
    place(state, context.time, |task, candidates| {
        let node = rank::draw(task, candidates, context)?;
        Some((node, AssignmentId(ids.ulid())))
    })
}

/// Places waiting replicas by the rules; `draw` chooses among the nodes that may get one, and names the assignment.
/// An audit gives what the log says was drawn.
pub(crate) fn place<'a>(
    state: &'a State,
    now: Timestamp,
    mut draw: impl FnMut(&Task, Vec<&'a Node>) -> Option<(&'a Node, AssignmentId)>,
) -> Vec<Event> {
    let mut given = Given::default();
    let mut events = Vec::new();
    for (_, id) in &state.index.open {
        let Some(task) = state.tasks.get(id).filter(|t| held(state, t).is_none()) else {
            continue;
        };
        for _ in 0..task.open_slots() {
            if events.len() >= PLACEMENTS_MAX {
                return events;
            }
            let candidates = candidates(state, task, &given, now);
            let Some((node, assignment)) = draw(task, candidates) else {
                break;
            };
            given.give(task, node.id);
            let resume = resume_point(task);
            events.push(
                AssignmentLeased {
                    task: task.id,
                    assignment,
                    node: node.id,
                    round: task.round,
                    resume,
                }
                .into(),
            );
        }
    }
    events
}

/// The nodes that the next replica of a task is drawn among.
fn candidates<'a>(state: &'a State, task: &Task, given: &Given, now: Timestamp) -> Vec<&'a Node> {
    let free = state
        .index
        .free_nodes
        .iter()
        .filter_map(|id| state.nodes.get(id));
    let fit: Vec<&Node> = free
        .filter(|n| filter::refusal_given(state, task, n, given, now).is_none())
        .collect();
    let sampled = task.definition.sampling().replicas > 1;
    if sampled {
        fit
    } else {
        rank::near_best(state, task, fit)
    }
}

/// A run of a task that is not replicated goes on from its newest checkpoint. A sampled replica starts from
/// zero: it has to confirm what the others made, not to inherit it.
fn resume_point(task: &Task) -> Option<BlobRef> {
    let alone = task.definition.sampling().replicas == 1;
    task.checkpoint.filter(|_| alone).map(|(_, blob)| blob)
}

/// The owners of a task's replicas.
fn owners_on(state: &State, task: &Task, given: &Given) -> BTreeSet<AccountId> {
    let placed = task
        .assignments
        .values()
        .filter(|a| a.is_replica())
        .map(|a| a.node);
    placed
        .chain(given.nodes_on(task.id))
        .filter_map(|n| state.nodes.get(&n))
        .map(|n| n.owner)
        .collect()
}
