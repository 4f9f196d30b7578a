//! Changing the node's signing key, and its API key with it, while an agent runs or not.
//!
//! The next key is on disk before the platform hears of it, and takes the first one's place only after the platform has taken
//! it: whatever is interrupted is completed by the next start, or by asking again. An agent that runs meanwhile finds the new
//! key when a commitment of the old one is refused, and the new API key when a call with the old one is.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use aevir_wire::{Client, ClientError, RotateKey, Secret, rotation_message};
use tokio_util::sync::CancellationToken;

use crate::{
    error::NodeError,
    identity::{NodeKey, Registration},
    retry::{Backoff, full, may_pass},
};

/// Keeps two rotations of one folder apart.
const LOCK_FILE: &str = "rotation.lock";
/// How often, and after which pause, an agent looks for the key that a rotation under way brings.
const LOOKS: u32 = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Gives the node of a data folder a new signing key and a new API key; answers its id and the new public key in hex.
///
/// # Errors
/// When the folder has no node, or the platform refuses.
pub async fn rotate_key(server: &str, data_dir: &Path) -> Result<(String, String), NodeError> {
    let (client, node) = client_of(server, data_dir)?;
    let _lock = lock(data_dir)?;
    let next = NodeKey::next_or_create(data_dir)?;
    complete(&client, &node, data_dir, &next).await?;
    Ok((node, next.public_hex()))
}

/// A client with the API key of the node of a data folder, and the node's id.
///
/// # Errors
/// When the folder has no node.
pub fn client_of(server: &str, data_dir: &Path) -> Result<(Client, String), NodeError> {
    let registration = Registration::read(data_dir)?.ok_or(NodeError::NotJoined)?;
    let client = Client::new(server, None).map_err(NodeError::Server)?;
    let client = calling(&client, &registration, data_dir)?;
    Ok((client, registration.node))
}

/// A client that calls as the node of a data folder, whichever API key that has by now.
pub(crate) fn calling(
    client: &Client,
    registration: &Registration,
    data_dir: &Path,
) -> Result<Client, NodeError> {
    let key = NodeKey::load_or_create(data_dir)?;
    let client = client.with_key(registration.api_key(&key));
    let data_dir = data_dir.to_owned();
    Ok(client.with_kept_keys(Arc::new(move || kept_keys(&data_dir))))
}

/// The API keys that the node of a data folder may have: the one that it has, and the one of a rotation that the platform may have
/// taken, while its answer is under way or got lost.
fn kept_keys(data_dir: &Path) -> Vec<Secret> {
    let next = NodeKey::next(data_dir).ok().flatten();
    let current = Registration::read(data_dir).ok().flatten();
    let current = current.and_then(|registration| {
        let key = NodeKey::load_or_create(data_dir).ok()?;
        Some(registration.api_key(&key))
    });
    let next = next.map(|key| key.api_key());
    current.into_iter().chain(next).collect()
}

/// Completes a rotation that was interrupted, where there is one, for as long as the platform can't be reached.
///
/// # Errors
/// When the platform knows neither the key of the folder nor the next one.
pub(crate) async fn resume(
    client: &Client,
    node: &str,
    data_dir: &Path,
    stop: &CancellationToken,
) -> Result<(), NodeError> {
    let mut backoff = Backoff::default();
    while let Err(error) = resume_once(client, node, data_dir).await {
        match error {
            NodeError::Rotation(error) if may_pass(&error) => {
                tracing::warn!(
                    error = full(&error),
                    "a rotation of the key waits for the platform"
                );
            }
            // The key before is the node's key.
            NodeError::Rotation(error) if is_final(&error) => return Ok(()),
            other => return Err(other),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
    Ok(())
}

async fn resume_once(client: &Client, node: &str, data_dir: &Path) -> Result<(), NodeError> {
    let _lock = lock(data_dir)?;
    match NodeKey::next(data_dir)? {
        None => Ok(()),
        Some(next) => complete(client, node, data_dir, &next).await,
    }
}

async fn complete(
    client: &Client,
    node: &str,
    data_dir: &Path,
    next: &NodeKey,
) -> Result<(), NodeError> {
    let current = NodeKey::load_or_create(data_dir)?;
    let key_hash = next.api_key().hash_bytes();
    let message = rotation_message(node, next.public_bytes(), key_hash);
    let request = RotateKey {
        public_key: next.public_hex(),
        key_hash: hex::encode(key_hash),
        signature: current.sign_hex(&message),
    };
    match client.rotate_key(&request).await {
        Ok(()) => {
            NodeKey::next_takes_place(data_dir)?;
            if let Some(registration) = Registration::read(data_dir)? {
                registration.rotated(next).save(data_dir)?;
            }
            Ok(())
        }
        Err(error) => {
            if is_final(&error) {
                NodeKey::forget_next(data_dir)?;
            }
            Err(NodeError::Rotation(error))
        }
    }
}

/// Asking again with the same key would be refused again.
fn is_final(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some("node-key-in-use" | "too-many-node-keys" | "node-gone")
    )
}

fn lock(data_dir: &Path) -> Result<File, NodeError> {
    let failed = |source| NodeError::DataDir {
        path: data_dir.to_owned(),
        source,
    };
    let file = File::create(data_dir.join(LOCK_FILE)).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// The key that a rotation brought since `known` was read, if one did, or does within some seconds. One that was left in
/// its middle is completed here.
pub(crate) async fn newer_key(
    client: &Client,
    node: &str,
    data_dir: &Path,
    known: &NodeKey,
) -> Option<NodeKey> {
    let read = || match NodeKey::load_or_create(data_dir) {
        Ok(key) => (key.public_hex() != known.public_hex()).then_some(key),
        Err(error) => {
            tracing::warn!(%error, "the node's key can't be read");
            None
        }
    };
    for _ in 0..LOOKS {
        if let Some(key) = read() {
            return Some(key);
        }
        if !NodeKey::has_next(data_dir) {
            return None;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    if let Err(error) = resume_once(client, node, data_dir).await {
        tracing::warn!(
            error = full(&error),
            "a rotation of the key can't be completed"
        );
    }
    read()
}
