//! Reads off events of nodes and of administrators what the command was.

use super::{Fault, Flaw};
use crate::{
    command::{Command, ComputeCheck, Subject},
    event::{ComputeChecked, KeyRotated, NodeDrained},
    rotation::SignedRotation,
    state::State,
};

/// What the leader's clock said is taken from the log.
pub(super) fn checking(e: &ComputeChecked) -> Command {
    Command::CheckCompute(ComputeCheck {
        node: e.node,
        class: e.class,
        elapsed_ms: e.elapsed_ms,
        outcome: e.outcome,
        seed: e.seed,
        root: e.root,
    })
}

pub(super) fn draining(e: &NodeDrained) -> Command {
    let node = e.node;
    if e.leaving {
        Command::LeaveMarket { node }
    } else {
        Command::DrainNode { node }
    }
}

/// The rotation, if the key that the node had until then signed it. There are few, so that it is verified in line.
pub(super) fn rotation(e: &KeyRotated, state: &State, position: u64) -> Result<Command, Fault> {
    let fault = |text: &str| Fault {
        position,
        flaw: Flaw::Rule(text.into()),
    };
    let node = state.nodes.get(&e.node);
    let old = node
        .ok_or_else(|| fault("the key of a node that does not exist is changed"))?
        .public_key;
    let rotation = SignedRotation::check(e.node, old, (e.public_key, e.key_hash), e.signature)
        .map_err(|_| fault("the node's key before did not sign its new keys"))?;
    Ok(Command::RotateKey {
        node: e.node,
        rotation,
    })
}

pub(super) fn suspending(subject: Subject, reason: &str) -> Command {
    let reason = reason.to_owned();
    Command::Suspend { subject, reason }
}

pub(super) fn releasing(subject: Subject, reason: &str) -> Command {
    let reason = reason.to_owned();
    Command::Release { subject, reason }
}
