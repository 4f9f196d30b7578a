//! A node changes its keys: the signing key that it had signs the one that it has from then on, and the API key that it calls with
//! from then on. Both change at once, for they lie in one folder: whoever has read one has read the other.
//!
//! `signature = Ed25519(old key, "aevir.rotate/1\n" || node id || "\n" || new public key || SHA-256 of the new API key)`, the node's id
//! as its 26 characters, the others as 32 bytes each. The id keeps a rotation from being taken for another node's, and a key that a node
//! had can't come back, so that an old rotation can't be played again.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Serialize;

use crate::{
    digest::Digest,
    hexbytes::Hex,
    ids::NodeId,
    report::{BadSignature, NodeKey},
};

const LABEL: &[u8] = b"aevir.rotate/1\n";

/// The bytes that the old key signs.
pub fn rotation_message(node: NodeId, new: NodeKey, key_hash: Digest) -> Vec<u8> {
    let id = node.to_string();
    [LABEL, id.as_bytes(), b"\n", &new.0, &key_hash.0].concat()
}

/// A rotation whose signature was verified: the only ways to have one are [`SignedRotation::check`] and to sign it oneself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SignedRotation {
    node: NodeId,
    old: NodeKey,
    new: NodeKey,
    key_hash: Digest,
    signature: Hex<64>,
}

impl SignedRotation {
    /// Verifies the old key's signature strictly (RFC 8032, no small-order keys), and that the new key is one.
    ///
    /// # Errors
    /// When either key is no point of the curve or the signature does not verify.
    pub fn check(
        node: NodeId,
        old: NodeKey,
        (new, key_hash): (NodeKey, Digest),
        signature: Hex<64>,
    ) -> Result<Self, BadSignature> {
        let strong = VerifyingKey::from_bytes(&new.0).is_ok_and(|key| !key.is_weak());
        let public = VerifyingKey::from_bytes(&old.0).map_err(|_| BadSignature)?;
        public
            .verify_strict(
                &rotation_message(node, new, key_hash),
                &Signature::from_bytes(&signature.0),
            )
            .ok()
            .filter(|()| strong)
            .ok_or(BadSignature)?;
        Ok(Self {
            node,
            old,
            new,
            key_hash,
            signature,
        })
    }

    /// Signs a rotation: a signature made here needs no verification.
    pub fn sign(node: NodeId, old: &SigningKey, new: &SigningKey, key_hash: Digest) -> Self {
        let public = Hex(new.verifying_key().to_bytes());
        let message = rotation_message(node, public, key_hash);
        Self {
            node,
            old: Hex(old.verifying_key().to_bytes()),
            new: public,
            key_hash,
            signature: Hex(old.sign(&message).to_bytes()),
        }
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The key that signed.
    pub fn old(&self) -> NodeKey {
        self.old
    }

    /// The key that was signed.
    pub fn new_key(&self) -> NodeKey {
        self.new
    }

    /// The SHA-256 of the API key that was signed with it.
    pub fn key_hash(&self) -> Digest {
        self.key_hash
    }

    pub fn signature(&self) -> Hex<64> {
        self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_one_nodes_from_one_key_to_one() {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let public = |seed| Hex(key(seed).verifying_key().to_bytes());
        let (node, other) = (
            NodeId(ulid::Ulid::from_parts(1, 1)),
            NodeId(ulid::Ulid::from_parts(1, 2)),
        );
        let hash = Digest::of(b"an API key");
        let signed = SignedRotation::sign(node, &key(1), &key(2), hash);
        let check =
            |node, old, new| SignedRotation::check(node, old, (new, hash), signed.signature());
        assert_eq!(check(node, public(1), public(2)), Ok(signed));
        for (node, old, new) in [(other, 1, 2), (node, 2, 2), (node, 1, 3), (node, 3, 2)] {
            assert_eq!(
                check(node, public(old), public(new)),
                Err(BadSignature),
                "{old} {new}"
            );
        }
        let other_key = (public(2), Digest::of(b"another"));
        let checked = SignedRotation::check(node, public(1), other_key, signed.signature());
        assert_eq!(checked, Err(BadSignature));
        // The neutral element of the curve is a key whose signatures anybody can make.
        let mut weak = [0; 32];
        weak[0] = 1;
        let message = rotation_message(node, Hex(weak), hash);
        let signature = Hex(key(1).sign(&message).to_bytes());
        let checked = SignedRotation::check(node, public(1), (Hex(weak), hash), signature);
        assert_eq!(checked, Err(BadSignature));
    }
}
