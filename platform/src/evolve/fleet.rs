//! Keeps the index of nodes that placement works on.

use crate::{
    digest::Digest,
    ids::NodeId,
    report::Artifact,
    schedule::Fleet,
    state::{Node, State},
};

/// After a node's records or its owner's points changed.
pub(super) fn regard(state: &mut State, node: NodeId) {
    with_fleet(state, node, |fleet, state, node| fleet.regard(state, node));
}

/// The node has these inputs from here on, as far as anybody can tell; the oldest ones may be gone.
pub(super) fn remember(state: &mut State, node: NodeId, inputs: &[Artifact]) {
    let policy = &state.scheduling().score;
    let (least, most) = (policy.cached_bytes_min, policy.cached_blobs_max as usize);
    let worth_it: Vec<Digest> = inputs
        .iter()
        .filter(|i| i.size >= least)
        .map(|i| i.digest)
        .collect();
    for digest in worth_it {
        let Some(known) = state.nodes.get_mut(&node) else {
            return;
        };
        known.cached.retain(|held| *held != digest);
        known.cached.push(digest);
        let gone = (known.cached.len() > most).then(|| known.cached.remove(0));
        with_fleet(state, node, |fleet, _, node| {
            fleet.hold(node, digest);
            if let Some(gone) = gone {
                fleet.let_go(node, gone);
            }
        });
    }
}

pub(super) fn with_fleet(
    state: &mut State,
    node: NodeId,
    change: impl FnOnce(&mut Fleet, &State, &Node),
) {
    // Taken out, so that the index can be changed while the state is read.
    let mut fleet = std::mem::take(&mut state.index.fleet);
    if let Some(node) = state.nodes.get(&node) {
        change(&mut fleet, state, node);
    }
    state.index.fleet = fleet;
}
