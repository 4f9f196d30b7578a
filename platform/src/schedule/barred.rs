//! The nodes that a task can't go to for who they are, or whose: it has been there, its requester owns them, or another replica is with the
//! same owner.

use std::collections::BTreeSet;

use super::{
    bits::Bits,
    filter::{Gifts, replicas, tried},
    members::Members,
    needs::Needs,
};
use crate::{
    ids::{AccountId, NodeId},
    state::{State, Task},
};

/// Nodes of one owner up to which they are named one by one; those of an owner who has more are a set, and what a plan does with sets costs
/// as much however many there are.
const NAMED_MAX: usize = 32;

/// Nodes of a fleet that one task, or a line of tasks that are alike, can't go to.
#[derive(Debug, Default)]
pub(super) struct Barred<'a> {
    /// Ordinals, ascending.
    pub(super) named: Vec<u32>,
    /// All nodes of owners who have many.
    owners: Vec<&'a Members>,
}

impl<'a> Barred<'a> {
    /// For a task that this plan has given so much. What its requester owns is left to [`requesters_own`] where that is many.
    pub(super) fn of(state: &'a State, task: &Task, gifts: Gifts<'_>) -> Self {
        let fleet = &state.index.fleet;
        let mut barred = Self::default();
        let tried = tried(task, gifts);
        barred.named.extend(tried.filter_map(|n| ordinal(state, n)));
        if !state.is_private(task) {
            let placed = replicas(task, gifts).filter_map(|n| state.nodes.get(&n));
            let owners: BTreeSet<AccountId> =
                placed.map(|n| n.owner).chain([task.requester]).collect();
            for owner in owners {
                let Some(nodes) = fleet.nodes_of(owner) else {
                    continue;
                };
                if !nodes.is_more_than(NAMED_MAX) {
                    barred.named.extend(nodes.iter());
                } else if owner != task.requester {
                    barred.owners.push(nodes);
                }
            }
        }
        barred.named.sort_unstable();
        barred.named.dedup();
        barred
    }

    /// Whether each of them is named.
    pub(super) fn is_named(&self) -> bool {
        self.owners.is_empty()
    }

    /// Takes them out of some nodes.
    pub(super) fn take_out(&self, nodes: &mut Bits) {
        for i in &self.named {
            nodes.remove(*i);
        }
        for owner in &self.owners {
            owner.take_out(nodes);
        }
    }
}

/// Whose many nodes a task can't go to because he is its requester: taken out once of what fits all of his tasks.
pub(super) fn requesters_own(state: &State, task: &Task) -> Option<AccountId> {
    let nodes = state.index.fleet.nodes_of(task.requester)?;
    (nodes.is_more_than(NAMED_MAX) && !state.is_private(task)).then_some(task.requester)
}

/// Takes those out.
pub(super) fn take_out_own(state: &State, task: &Task, nodes: &mut Bits) {
    let own = requesters_own(state, task);
    if let Some(own) = own.and_then(|owner| state.index.fleet.nodes_of(owner)) {
        own.take_out(nodes);
    }
}

/// Of a sample that has not begun, its requester, where he owns nodes of the classes that it may begin in.
pub(super) fn class_owner(state: &State, task: &Task, needs: &Needs) -> Option<AccountId> {
    let is_owner = state.index.fleet.classes.there.are_owned_by(task.requester);
    (needs.class_owners > 0 && is_owner).then_some(task.requester)
}

/// A node's number in the fleet.
pub(super) fn ordinal(state: &State, node: NodeId) -> Option<u32> {
    state.nodes.get(&node).map(|node| node.ordinal)
}
