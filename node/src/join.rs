//! Becoming a node of the platform: once, with a token, safely even when the answer gets lost.

use std::path::Path;

use aevir_wire::{Client, ClientError, NodeFilter, NodeProfile, RegisterNode, Secret};

use crate::{
    config::NodeConfig,
    error::NodeError,
    identity::{NodeKey, Registration, pending_key},
    retry::{Backoff, full},
};

/// The node's registration: the kept one, or a new one.
///
/// A token can be used once, and the answer that uses it up may get lost. So the API key is made here and kept
/// before it is sent: when joining fails, a node that is registered under our public key already is ours.
///
/// # Errors
/// When there is no token, or the platform refuses it.
pub(crate) async fn join(
    config: &NodeConfig,
    client: &Client,
    key: &NodeKey,
    profile: &NodeProfile,
) -> Result<Registration, NodeError> {
    if let Some(registration) = Registration::read(&config.data_dir)? {
        return Ok(registration);
    }
    let token = config.token.as_ref().ok_or(NodeError::NoToken)?;
    let secret = pending_key(&config.data_dir)?;
    let request = RegisterNode {
        token: token.expose().to_owned(),
        public_key: key.public_hex(),
        key_hash: secret.hash(),
        profile: profile.clone(),
    };
    let mut backoff = Backoff::default();
    loop {
        let error = match client.register_node(&request).await {
            Ok(registered) => {
                let registration = Registration {
                    node: registered.node,
                    owner: registered.owner,
                    server: config.server.clone(),
                    api_key: secret.expose().to_owned(),
                    public_key: Some(key.public_hex()),
                };
                return keep(registration, &config.data_dir);
            }
            Err(error) => error,
        };
        if let Some(registration) = joined_before(config, client, key, &secret).await {
            return keep(registration, &config.data_dir);
        }
        if !error.is_transient() {
            return Err(NodeError::Join(error));
        }
        tracing::warn!(
            error = full(&error),
            "the platform can't be reached; joining later"
        );
        tokio::time::sleep(backoff.next()).await;
    }
}

fn keep(registration: Registration, data_dir: &Path) -> Result<Registration, NodeError> {
    registration.save(data_dir)?;
    tracing::info!(
        node = registration.node,
        owner = registration.owner,
        "joined"
    );
    Ok(registration)
}

/// The registration whose answer never arrived, if there is one: the pending key opens it.
async fn joined_before(
    config: &NodeConfig,
    client: &Client,
    key: &NodeKey,
    secret: &Secret,
) -> Option<Registration> {
    let listed: Result<_, ClientError> = client
        .with_key(secret.clone())
        .nodes(&NodeFilter::default())
        .await;
    let public = key.public_hex();
    let node = listed
        .ok()?
        .nodes
        .into_iter()
        .find(|node| node.public_key == public)?;
    Some(Registration {
        node: node.id,
        owner: node.owner,
        server: config.server.clone(),
        api_key: secret.expose().to_owned(),
        public_key: Some(public),
    })
}
