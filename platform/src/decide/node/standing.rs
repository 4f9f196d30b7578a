//! A node takes part, drains, leaves, changes its keys, or is shut out.

use aevir_events::{Context, Timestamp};
use std::collections::BTreeMap;

use super::{
    super::{Decision, account::check_reason, lease, stake},
    node_key, present,
};
use crate::{
    command::{Availability, LossReason},
    event::{
        AvailabilityChanged, Event, KeyRevoked, KeyRotated, NodeDrained, NodeLeft, NodeResumed,
        NodeRevoked,
    },
    ids::{AccountId, KeyId, NodeId},
    rejection::Rejection,
    rotation::SignedRotation,
    state::{Node, Standing, State},
};

/// Keys that one node may have had; all of them are kept, so that none comes back.
const FORMER_KEYS_MAX: usize = 256;
/// Nodes that one tick lets go.
const DEPARTURES_MAX: usize = 64;

pub(in crate::decide) fn drain(state: &State, node: NodeId) -> Decision {
    match present(state, node)?.standing {
        Standing::Working => Ok(vec![
            NodeDrained {
                node,
                leaving: false,
            }
            .into(),
        ]),
        Standing::Draining { .. } => Ok(Vec::new()),
        Standing::Left { .. } | Standing::Revoked { .. } => Err(Rejection::NodeGone),
    }
}

pub(in crate::decide) fn leave(state: &State, node: NodeId) -> Decision {
    let known = present(state, node)?;
    if known.standing == (Standing::Draining { leaving: true }) {
        return Ok(Vec::new());
    }
    let leaving = NodeDrained {
        node,
        leaving: true,
    };
    Ok(vec![leaving.into()])
}

pub(in crate::decide) fn resume(state: &State, node: NodeId) -> Decision {
    match present(state, node)?.standing {
        Standing::Working => Ok(Vec::new()),
        Standing::Draining { .. } => Ok(vec![NodeResumed { node }.into()]),
        Standing::Left { .. } | Standing::Revoked { .. } => Err(Rejection::NodeGone),
    }
}

/// Lets go the nodes that want to leave and have nothing open any more.
pub(in crate::decide) fn departures(state: &State) -> Vec<Event> {
    let departing = state.index.departing.iter().take(DEPARTURES_MAX);
    let departing = departing.filter_map(|id| state.nodes.get(id));
    departing
        .flat_map(|node| {
            let left = Event::from(NodeLeft { node: node.id });
            let stake = stake::left(state, node);
            [left].into_iter().chain(stake).chain(ended(state, node))
        })
        .collect()
}

/// What comes with the end of a node's time: its API key is dead, and it is not there.
fn ended(state: &State, node: &Node) -> Vec<Event> {
    let (id, account) = (node.id, node.owner);
    let key = state.key_of_node(id);
    let key = key.map(|key| Event::from(KeyRevoked { account, key }));
    let offline = (node.availability == Availability::Online).then(|| {
        let availability = Availability::Offline;
        Event::from(AvailabilityChanged {
            node: id,
            availability,
        })
    });
    key.into_iter().chain(offline).collect()
}

pub(in crate::decide) fn rotate_key(
    state: &State,
    node: NodeId,
    rotation: &SignedRotation,
    context: &Context,
) -> Decision {
    let known = present(state, node)?;
    if rotation.node() != node {
        return Err(Rejection::WrongNodeKey);
    }
    let current = state.key_of_node(node).ok_or(Rejection::UnknownKey)?;
    let is_current = |hash| state.keys.get(&current).is_some_and(|key| key.hash == hash);
    // The same again after a lost answer.
    if known.public_key == rotation.new_key()
        && known.former_keys.last() == Some(&rotation.old())
        && is_current(rotation.key_hash())
    {
        return Ok(Vec::new());
    }
    if known.public_key != rotation.old() {
        return Err(Rejection::WrongNodeKey);
    }
    if state.index.node_keys.contains_key(&rotation.new_key()) {
        return Err(Rejection::NodeKeyInUse);
    }
    if known.former_keys.len() >= FORMER_KEYS_MAX {
        return Err(Rejection::TooManyNodeKeys {
            most: FORMER_KEYS_MAX,
        });
    }
    let hash = rotation.key_hash();
    if state.index.key_by_hash.contains_key(&hash) {
        return Err(Rejection::KeyInUse);
    }
    let rotated = KeyRotated {
        node,
        public_key: rotation.new_key(),
        key_hash: hash,
        signature: rotation.signature(),
    };
    let account = known.owner;
    let revoked = KeyRevoked {
        account,
        key: current,
    };
    let added = node_key(account, node, KeyId(context.ids().ulid()), hash);
    Ok(vec![rotated.into(), revoked.into(), added.into()])
}

pub(in crate::decide) fn revoke(
    state: &State,
    node: NodeId,
    reason: &str,
    now: Timestamp,
) -> Decision {
    let known = present(state, node)?;
    check_reason(reason)?;
    let revoked = NodeRevoked {
        node,
        reason: reason.into(),
    };
    let mut events: Vec<Event> = vec![revoked.into()];
    events.extend(ended(state, known));
    // Each loss has to see what those before it cost.
    let mut lost: BTreeMap<AccountId, i64> = BTreeMap::new();
    for id in &known.active {
        events.extend(lease::lost(
            state,
            *id,
            LossReason::Revoked,
            &mut lost,
            now,
        )?);
    }
    Ok(events)
}
