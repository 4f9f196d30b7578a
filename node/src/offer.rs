//! What a node that has joined tells at each start: its machine, where that has changed, and its terms, where its operator's
//! options change them.

use aevir_wire::{ChangeProfile, Client, ClientError, NodeProfile};
use tokio_util::sync::CancellationToken;

use crate::{
    error::NodeError,
    retry::{Tried, until_answered},
    terms::TermsChange,
};

/// A measured speed within one of so many parts of the one before is the same: no machine measures alike twice.
const SAME_SPEED_PART: u32 = 4;

/// Tells the platform what is not as it knows it. `false` when told to stop before there was an answer.
///
/// # Errors
/// When the platform refuses profile or terms, or does not know the node.
pub(crate) async fn renew(
    client: &Client,
    node: &str,
    profile: &NodeProfile,
    change: &TermsChange,
    shutdown: &CancellationToken,
) -> Result<bool, NodeError> {
    let known = match until_answered("node", shutdown, || client.node(node)).await {
        Tried::Done(known) => known,
        Tried::Refused(error) => return Err(refused(error)),
        Tried::Stopped => return Ok(false),
    };
    if !is_same(&known.profile, profile) {
        tracing::info!("the machine is another one than the platform knows");
        let request = ChangeProfile {
            profile: profile.clone(),
        };
        let call = || client.change_profile(&request);
        match until_answered("profile", shutdown, call).await {
            Tried::Done(()) => {}
            Tried::Refused(error) => return Err(refused(error)),
            Tried::Stopped => return Ok(false),
        }
    }
    let terms = change.over(&known.terms);
    if terms == known.terms {
        return Ok(true);
    }
    match until_answered("terms", shutdown, || client.set_node_terms(node, &terms)).await {
        Tried::Done(_) => Ok(true),
        Tried::Refused(error) => Err(refused(error)),
        Tried::Stopped => Ok(false),
    }
}

fn refused(error: ClientError) -> NodeError {
    match error.code() {
        Some("unauthenticated" | "not-a-node" | "unknown-node" | "node-gone") => {
            NodeError::Disowned(error)
        }
        Some(_) | None => NodeError::Offer(error),
    }
}

/// The same machine, as far as two measurements can tell.
fn is_same(known: &NodeProfile, measured: &NodeProfile) -> bool {
    let speeds = (known.cpu_mfuel_s, measured.cpu_mfuel_s);
    let same_speed = match speeds {
        (Some(known), Some(measured)) => known.abs_diff(measured) <= known / SAME_SPEED_PART,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let measured = NodeProfile {
        cpu_mfuel_s: known.cpu_mfuel_s,
        ..measured.clone()
    };
    same_speed && *known == measured
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_is_another_one_by_more_than_noise() {
        let with = |cpu_mfuel_s: Option<u32>, slots: u32| -> NodeProfile {
            let profile = json!({
                "name": "n", "cpu_cores": 8, "memory_mib": 1, "storage_mib": 1, "slots": slots, "runtime": "det/1",
                "cpu_mfuel_s": cpu_mfuel_s,
            });
            serde_json::from_value(profile).unwrap()
        };
        let known = with(Some(1_000), 1);
        for (measured, same) in [
            (with(Some(750), 1), true),
            (with(Some(1_250), 1), true),
            (with(Some(749), 1), false),
            (with(Some(1_000), 2), false),
            (with(None, 1), false),
        ] {
            assert_eq!(is_same(&known, &measured), same, "{measured:?}");
        }
    }
}
