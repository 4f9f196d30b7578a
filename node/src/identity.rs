//! Who this node is: its Ed25519 key, made at the first start, and its registration with the platform.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aevir_wire::Secret;
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files;

const KEY_FILE: &str = "node.key";
/// The key that a rotation under way brings.
const NEXT_KEY_FILE: &str = "node.key.next";
const REGISTRATION_FILE: &str = "node.json";
/// Keeps the API key that a signing key makes apart from whatever else may be made of it.
const API_KEY_LABEL: &[u8] = b"aevir.node-api-key/1\n";
/// The API key of a registration under way, so that one whose answer got lost can still be used.
const PENDING_FILE: &str = "joining.key";

/// Why the node's identity can't be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("`{path}` can't be read or written")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "`{0}` holds no key: 64 hex digits are expected. Restore it, or remove it together with node.json to join anew"
    )]
    NotAKey(PathBuf),
    #[error("`{0}` can be read by others: run `chmod 600` on it")]
    Exposed(PathBuf),
}

impl IdentityError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// What the platform knows this node by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The node's id.
    pub node: String,
    /// The account it belongs to.
    pub owner: String,
    /// Where it registered; for people, the configured address counts.
    pub server: String,
    /// The API key's secret.
    pub api_key: String,
    /// The signing key that it goes with, in hex: where that is not the node's key any more, a rotation was interrupted before this file
    /// was written anew, and the API key is the one that the node's key makes.
    #[serde(default)]
    pub public_key: Option<String>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("node", &self.node)
            .field("owner", &self.owner)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Registration {
    /// Reads the registration of the node whose data folder this is; `None` before it joined.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(REGISTRATION_FILE);
        files::read_json(&path).map_err(|e| IdentityError::file(&path, e))
    }

    /// The API key of the node, which has this signing key by now.
    pub(crate) fn api_key(&self, key: &NodeKey) -> Secret {
        match &self.public_key {
            Some(public) if *public != key.public_hex() => key.api_key(),
            Some(_) | None => Secret::from_text(self.api_key.as_str()),
        }
    }

    /// The registration of the node with another signing key, and the API key that comes with it.
    pub(crate) fn rotated(self, key: &NodeKey) -> Self {
        Self {
            api_key: key.api_key().expose().to_owned(),
            public_key: Some(key.public_hex()),
            ..self
        }
    }

    /// Keeps it, for its owner's eyes only, and forgets the pending key.
    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(REGISTRATION_FILE);
        files::write_json(&path, self).map_err(|e| IdentityError::file(&path, e))?;
        let pending = data_dir.join(PENDING_FILE);
        files::remove(&pending).map_err(|e| IdentityError::file(&pending, e))
    }
}

/// The API key to join with: made and kept before it is used.
pub(crate) fn pending_key(data_dir: &Path) -> Result<Secret, IdentityError> {
    let path = data_dir.join(PENDING_FILE);
    let failed = |e| IdentityError::file(&path, e);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::from_text(text.trim())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let secret = Secret::new_key();
            files::write(&path, secret.expose().as_bytes()).map_err(failed)?;
            Ok(secret)
        }
        Err(e) => Err(failed(e)),
    }
}

/// The node's signing key. `Debug` does not show it.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey(public {})", self.public_hex())
    }
}

impl NodeKey {
    /// Reads the key of a data folder, or makes one.
    ///
    /// # Errors
    /// When the file can't be read or written, holds no key, or can be read by others.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, IdentityError> {
        Self::in_file(data_dir.join(KEY_FILE))
    }

    /// The key that a rotation under way brings, or a new one for a rotation that begins.
    pub(crate) fn next_or_create(data_dir: &Path) -> Result<Self, IdentityError> {
        Self::in_file(data_dir.join(NEXT_KEY_FILE))
    }

    /// The key that a rotation under way brings, where there is one.
    pub(crate) fn next(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        Self::read(&data_dir.join(NEXT_KEY_FILE))
    }

    /// Whether a rotation is under way, or was interrupted.
    pub(crate) fn has_next(data_dir: &Path) -> bool {
        data_dir.join(NEXT_KEY_FILE).exists()
    }

    /// Makes the next key the node's key: one step, which happens or does not, so that no crash leaves the same key in both
    /// places (the platform would refuse a rotation to it, and a signature of it).
    pub(crate) fn next_takes_place(data_dir: &Path) -> Result<(), IdentityError> {
        let (next, path) = (data_dir.join(NEXT_KEY_FILE), data_dir.join(KEY_FILE));
        files::rename(&next, &path).map_err(|e| IdentityError::file(&path, e))
    }

    /// Gives a rotation up.
    pub(crate) fn forget_next(data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(NEXT_KEY_FILE);
        files::remove(&path).map_err(|e| IdentityError::file(&path, e))
    }

    fn in_file(path: PathBuf) -> Result<Self, IdentityError> {
        if let Some(key) = Self::read(&path)? {
            return Ok(key);
        }
        let key = Self::from_seed(rand::random());
        key.write(&path)?;
        Ok(key)
    }

    fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let failed = |e| IdentityError::file(path, e);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed(path.to_owned()));
        }
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed)
            .map_err(|_| IdentityError::NotAKey(path.to_owned()))?;
        Ok(Some(Self::from_seed(seed)))
    }

    fn write(&self, path: &Path) -> Result<(), IdentityError> {
        let text = format!("{}\n", hex::encode(self.0.to_bytes()));
        files::write(path, text.as_bytes()).map_err(|e| IdentityError::file(path, e))
    }

    /// The key that belongs to a 32-byte seed (RFC 8032).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The public key in hex.
    pub fn public_hex(&self) -> String {
        hex::encode(self.public_bytes())
    }

    /// The public key.
    pub(crate) fn public_bytes(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The API key that comes with it: made of it, so that one file holds both until the other one is written anew. Nobody finds the
    /// signing key by it.
    pub(crate) fn api_key(&self) -> Secret {
        let made = Sha256::new()
            .chain_update(API_KEY_LABEL)
            .chain_update(self.0.to_bytes());
        Secret::key_of(made.finalize().into())
    }

    /// The signature over a message, in hex.
    pub fn sign_hex(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign(message).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let made = NodeKey::load_or_create(folder.path()).unwrap();
        let read = NodeKey::load_or_create(folder.path()).unwrap();
        assert_eq!(made.public_hex(), read.public_hex());
        let path = folder.path().join(KEY_FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = NodeKey::load_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Exposed(_)), "{error}");
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        files::write(&folder.path().join(KEY_FILE), b"abc").unwrap();
        let error = NodeKey::load_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, IdentityError::NotAKey(_)), "{error}");
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // Test 1 of section 7.1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = NodeKey::from_seed(hex::decode(seed).unwrap().try_into().unwrap());
        assert_eq!(
            key.public_hex(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            key.sign_hex(b""),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn a_registration_is_kept_and_its_key_stays_out_of_logs() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Registration::read(folder.path()).unwrap(), None);
        let pending = pending_key(folder.path()).unwrap();
        assert_eq!(pending_key(folder.path()).unwrap(), pending);
        let registration = Registration {
            node: "N".into(),
            owner: "O".into(),
            server: "http://localhost".into(),
            api_key: pending.expose().into(),
            public_key: None,
        };
        registration.save(folder.path()).unwrap();
        assert_eq!(
            Registration::read(folder.path()).unwrap().unwrap(),
            registration
        );
        assert_ne!(
            pending_key(folder.path()).unwrap(),
            pending,
            "the pending key was forgotten"
        );
        assert!(!format!("{registration:?}").contains(pending.expose()));
        // Whichever key it was read with before a rotation was complete, the API key is the one that goes with the node's key.
        let (first, second) = (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]));
        assert_eq!(registration.api_key(&first), pending);
        let rotated = registration.rotated(&first);
        assert_eq!(rotated.api_key(&first), first.api_key());
        assert_eq!(rotated.api_key(&second), second.api_key());
        assert_ne!(first.api_key(), second.api_key());
    }
}
