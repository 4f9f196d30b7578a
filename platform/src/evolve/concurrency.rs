//! How many runs at once a node showed that it can have: it begins with what the policy gives a newcomer, gains one with each
//! accepted result while it uses at least half of what it has, which doubles it with each generation of runs, and loses half
//! with each lost lease (slow start and multiplicative decrease, as in [TCP](https://doi.org/10.1145/52324.52356), Jacobson, 1988).

use aevir_events::Corrupt;

use super::node::{node_mut, refresh_node};
use crate::{
    ids::NodeId,
    state::{Node, State},
};

/// An accepted result shows that its node can have as many runs at once as it had when that began.
pub(super) fn shown(state: &mut State, id: NodeId, abreast: u32) -> Result<(), Corrupt> {
    let node = node_mut(state, id)?;
    if grows(node, abreast) {
        node.concurrency += 1;
        refresh_node(state, id);
    }
    Ok(())
}

/// Whether one more of such runs is a reason to give the node more: one that runs few at once says nothing about many.
fn grows(node: &Node, abreast: u32) -> bool {
    let slots = node.slots();
    slots < node.offered_slots() && u64::from(abreast) * 2 >= u64::from(slots)
}

/// A lease was lost. The node keeps what newcomers get.
pub(super) fn halve(state: &mut State, id: NodeId) -> Result<(), Corrupt> {
    let least = state.scheduling().unproven_slots;
    let node = node_mut(state, id)?;
    let half = (node.concurrency / 2).max(least);
    node.concurrency = node.concurrency.min(half);
    refresh_node(state, id);
    Ok(())
}
