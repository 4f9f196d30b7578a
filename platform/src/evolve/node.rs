//! Nodes: they join, come and go, change, and end.

use aevir_events::{Corrupt, Timestamp};

use super::{ensure, fleet::with_fleet, stake, unseal::discard};
use crate::{
    amount::Amount,
    command::Availability,
    event::{
        AvailabilityChanged, ComputeChecked, KeyRotated, NodeDrained, NodeLeft, NodeRegistered,
        NodeResumed, NodeRevoked, ProfileChanged, TermsChanged, Track,
    },
    ids::{AssignmentId, NodeId},
    schedule::Load,
    state::{Node, Room, Standing, State, scheduling_of},
    terms::NodeTerms,
};

pub(super) fn registered(
    state: &mut State,
    e: &NodeRegistered,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let token = state.join_tokens.remove(&e.token_hash);
    ensure(token.is_some_and(|t| t.account == e.owner), || {
        format!("node {} without its token", e.node)
    })?;
    ensure(
        state.index.node_keys.insert(e.public_key, e.node).is_none(),
        || "a node key twice".into(),
    )?;
    let ordinal = u32::try_from(state.nodes.len())
        .map_err(|_| Corrupt("more nodes than 32 bits count".into()))?;
    let node = Node {
        id: e.node,
        ordinal,
        owner: e.owner,
        public_key: e.public_key,
        former_keys: Vec::new(),
        profile: e.profile.clone(),
        terms: NodeTerms::default(),
        availability: Availability::Offline,
        standing: Standing::Working,
        suspended: None,
        active: [].into(),
        taken: Room::default(),
        sealed_mib: 0,
        cached: Vec::new(),
        sealed: [].into(),
        records: [].into(),
        faded: state.epochs.fading.closed,
        ranked_points: state.points(e.owner, Track::Compute),
        returns: Default::default(),
        speed: Default::default(),
        compute: Default::default(),
        concurrency: state.scheduling().unproven_slots,
        pledges: Default::default(),
        vouched_at: Timestamp::default(),
        earned: Amount::ZERO,
        registered_at: at,
    };
    state
        .index
        .nodes_by_owner
        .entry(e.owner)
        .or_default()
        .insert(e.node);
    ensure(state.nodes.insert(e.node, node).is_none(), || {
        format!("node {} registered twice", e.node)
    })?;
    with_fleet(state, e.node, |fleet, state, node| fleet.add(state, node));
    Ok(())
}

pub(super) fn availability_changed(
    state: &mut State,
    e: &AvailabilityChanged,
) -> Result<(), Corrupt> {
    node_mut(state, e.node)?.availability = e.availability;
    refresh_node(state, e.node);
    Ok(())
}

pub(super) fn profile_changed(state: &mut State, e: &ProfileChanged) -> Result<(), Corrupt> {
    redescribe(state, e.node, |node| node.profile = e.profile.clone())
}

pub(super) fn terms_changed(state: &mut State, e: &TermsChanged) -> Result<(), Corrupt> {
    redescribe(state, e.node, |node| node.terms = e.terms.clone())
}

pub(super) fn compute_checked(
    state: &mut State,
    e: &ComputeChecked,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let node = present(state, e.node)?;
    node.compute.see(e.class, e.elapsed_ms, e.outcome, at);
    with_fleet(state, e.node, |fleet, _, node| fleet.measure(node));
    Ok(())
}

pub(super) fn drained(state: &mut State, e: &NodeDrained) -> Result<(), Corrupt> {
    present(state, e.node)?.standing = Standing::Draining { leaving: e.leaving };
    refresh_node(state, e.node);
    Ok(())
}

pub(super) fn resumed(state: &mut State, e: &NodeResumed) -> Result<(), Corrupt> {
    present(state, e.node)?.standing = Standing::Working;
    refresh_node(state, e.node);
    Ok(())
}

pub(super) fn left(state: &mut State, e: &NodeLeft, at: Timestamp) -> Result<(), Corrupt> {
    let node = present(state, e.node)?;
    ensure(node.may_go(), || {
        format!("node {} left with something open", e.node)
    })?;
    node.standing = Standing::Left { at };
    retire(state, e.node);
    Ok(())
}

pub(super) fn key_rotated(state: &mut State, e: &KeyRotated) -> Result<(), Corrupt> {
    ensure(
        state.index.node_keys.insert(e.public_key, e.node).is_none(),
        || "a node key twice".into(),
    )?;
    let node = present(state, e.node)?;
    node.former_keys.push(node.public_key);
    node.public_key = e.public_key;
    Ok(())
}

pub(super) fn revoked(state: &mut State, e: &NodeRevoked, at: Timestamp) -> Result<(), Corrupt> {
    let reason = e.reason.clone();
    present(state, e.node)?.standing = Standing::Revoked { reason, at };
    retire(state, e.node);
    Ok(())
}

/// A result of a node stood that was repeated though nobody doubted it, and that it could not know would be.
pub(super) fn vouch(
    state: &mut State,
    (node, sealed_at): (NodeId, Timestamp),
) -> Result<(), Corrupt> {
    let node = node_mut(state, node)?;
    node.vouched_at = node.vouched_at.max(sealed_at);
    Ok(())
}

/// Takes a node that is gone for good out of the indexes.
fn retire(state: &mut State, id: NodeId) {
    with_fleet(state, id, |fleet, _, node| fleet.retire(node));
    refresh_node(state, id);
}

pub(super) fn node_mut(state: &mut State, node: NodeId) -> Result<&mut Node, Corrupt> {
    state
        .nodes
        .get_mut(&node)
        .ok_or_else(|| Corrupt(format!("no node {node}")))
}

/// A node that has not gone for good.
fn present(state: &mut State, node: NodeId) -> Result<&mut Node, Corrupt> {
    let node = node_mut(state, node)?;
    if node.standing.is_gone() {
        return Err(Corrupt(format!("node {} is gone", node.id)));
    }
    Ok(node)
}

/// A sealed result of the node is not open any more.
pub(super) fn unseal(
    state: &mut State,
    node: NodeId,
    assignment: AssignmentId,
) -> Result<(), Corrupt> {
    stake::release(state, node, assignment)?;
    discard(state, assignment)?;
    let sealed = node_mut(state, node)?.sealed.remove(&assignment);
    ensure(sealed, || format!("assignment {assignment} is not sealed"))?;
    refresh_node(state, node);
    Ok(())
}

/// Changes what a node is or on which terms it works.
fn redescribe(
    state: &mut State,
    id: NodeId,
    change: impl FnOnce(&mut Node),
) -> Result<(), Corrupt> {
    present(state, id)?;
    with_fleet(state, id, |fleet, _, node| fleet.describe(node, false));
    change(present(state, id)?);
    with_fleet(state, id, |fleet, state, node| {
        fleet.describe(node, true);
        // With another GPU another record counts.
        fleet.regard(state, node);
    });
    refresh_node(state, id);
    Ok(())
}

/// Keeps the indexes of nodes right after one, or its owner, changed.
pub(super) fn refresh_node(state: &mut State, id: NodeId) {
    let Some(node) = state.nodes.get(&id) else {
        return;
    };
    let (load, may_go) = (Load::of(state, node), node.may_go());
    let policy = &scheduling_of(&state.policies).score;
    state.index.fleet.refresh(&load, policy);
    if may_go {
        state.index.departing.insert(id);
    } else {
        state.index.departing.remove(&id);
    }
}
