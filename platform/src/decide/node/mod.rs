//! Nodes join, come and go, and change.

mod compute;
mod standing;
mod terms;

use aevir_events::Context;

use super::{
    Decision,
    account::{active_account, check_name},
};
use crate::{
    command::{Availability, NodeProfile, RegisterNode, Scope},
    digest::Digest,
    event::{AvailabilityChanged, KeyAdded, NodeRegistered, ProfileChanged},
    ids::{AccountId, KeyId, NodeId},
    policy::SLOTS_MAX,
    rejection::Rejection,
    state::{Node, State},
};

pub(super) use compute::check_compute;
pub(super) use standing::{departures, drain, leave, resume, revoke, rotate_key};
pub(super) use terms::change_terms;

/// Labels, GPU features and the like in one profile.
const PROFILE_ENTRIES_MAX: usize = 64;

pub(super) fn register(state: &State, command: &RegisterNode, context: &Context) -> Decision {
    let token = state
        .join_tokens
        .get(&command.token_hash)
        .ok_or(Rejection::TokenUnknown)?;
    if token.expires < context.time {
        return Err(Rejection::TokenExpired);
    }
    active_account(state, token.account)?;
    if state.index.node_keys.contains_key(&command.public_key) {
        return Err(Rejection::NodeKeyInUse);
    }
    if state.index.key_by_hash.contains_key(&command.key_hash) {
        return Err(Rejection::KeyInUse);
    }
    check_profile(&command.profile)?;
    let mut ids = context.ids();
    let node = NodeId(ids.ulid());
    let registered = NodeRegistered {
        node,
        owner: token.account,
        token_hash: command.token_hash,
        public_key: command.public_key,
        profile: command.profile.clone(),
    };
    let key = KeyId(ids.ulid());
    let key = node_key(token.account, node, key, command.key_hash);
    Ok(vec![registered.into(), key.into()])
}

/// The API key of a node.
fn node_key(account: AccountId, node: NodeId, key: KeyId, hash: Digest) -> KeyAdded {
    KeyAdded {
        account,
        key,
        label: "node".into(),
        hash,
        scopes: vec![Scope::Node],
        node: Some(node),
    }
}

fn check_profile(profile: &NodeProfile) -> Result<(), Rejection> {
    check_name("a node's name", &profile.name)?;
    check_name("a node's runtime", &profile.runtime)?;
    let invalid = |detail: &str| {
        Err(Rejection::ProfileInvalid {
            detail: detail.into(),
        })
    };
    if !(1..=SLOTS_MAX).contains(&profile.slots) {
        return invalid("slots must be 1 to 256");
    }
    if profile.labels.len() > PROFILE_ENTRIES_MAX {
        return invalid("at most 64 labels");
    }
    for (name, value) in &profile.labels {
        check_name("a label", name)?;
        check_name("a label's value", value)?;
    }
    if let Some(gpu) = &profile.gpu {
        if gpu.features.len() > PROFILE_ENTRIES_MAX {
            return invalid("at most 64 GPU features");
        }
        if gpu.adapter.len() > 256 || gpu.class.len() > 256 || gpu.class.is_empty() {
            return invalid("the GPU's adapter and class have at most 256 bytes");
        }
        for feature in &gpu.features {
            check_name("a GPU feature", feature)?;
        }
    }
    Ok(())
}

pub(super) fn set_availability(
    state: &State,
    node: NodeId,
    availability: Availability,
) -> Decision {
    let known = state.nodes.get(&node).ok_or(Rejection::UnknownNode)?;
    if known.availability == availability {
        return Ok(Vec::new());
    }
    if availability == Availability::Online {
        present(state, node)?;
    }
    Ok(vec![AvailabilityChanged { node, availability }.into()])
}

pub(super) fn change_profile(state: &State, node: NodeId, profile: &NodeProfile) -> Decision {
    if present(state, node)?.profile == *profile {
        return Ok(Vec::new());
    }
    check_profile(profile)?;
    let profile = profile.clone();
    Ok(vec![ProfileChanged { node, profile }.into()])
}

/// A node that has not gone for good.
fn present(state: &State, node: NodeId) -> Result<&Node, Rejection> {
    let known = state.nodes.get(&node).ok_or(Rejection::UnknownNode)?;
    if known.standing.is_gone() {
        return Err(Rejection::NodeGone);
    }
    Ok(known)
}
