//! A node changes its signing key, and the key before counts no more.

use aevir_platform::{command::Command, digest::Digest, ids::NodeId, rotation::SignedRotation};
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::world::{World, labels};

impl World {
    /// A rotation of the node's key to one made from `seed`, signed by the key that it has.
    pub fn rotation(&self, node: NodeId, seed: &str) -> SignedRotation {
        let api_key = Digest::of(format!("API key of {node} by {seed}").as_bytes());
        SignedRotation::sign(node, &self.keys[&node], &key(seed), api_key)
    }

    /// The node changes its key to one made from `seed`, and signs with it from then on.
    pub fn rotate(&mut self, node: NodeId, seed: &str) {
        let rotation = self.rotation(node, seed);
        self.ok(Command::RotateKey { node, rotation });
        self.keys.insert(node, key(seed));
    }
}

fn key(seed: &str) -> SigningKey {
    SigningKey::from_bytes(&Digest::of(seed.as_bytes()).0)
}

#[test]
fn a_changed_key_seals_and_the_key_before_does_not() {
    let mut w = World::new();
    let node = w.node("a");
    let task = w.task(json!({}));
    let assignment = w.plan()[0].1;
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    let before = w.commit_command(&run);
    let old = w.rotation(node, "second");
    w.rotate(node, "second");
    assert!(
        w.ok(Command::RotateKey {
            node,
            rotation: old
        })
        .is_empty(),
        "the same again, after a lost answer"
    );
    assert_eq!(w.refused(before), "wrong-node-key");
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    w.rotate(node, "third");
    // Played again it changes nothing any more, and no key comes back.
    assert_eq!(
        w.refused(Command::RotateKey {
            node,
            rotation: old
        }),
        "wrong-node-key"
    );
    let back = w.rotation(node, "second");
    assert_eq!(
        w.refused(Command::RotateKey {
            node,
            rotation: back
        }),
        "node-key-in-use"
    );
    let other = w.node("b");
    let taken = w.rotation(other, "third");
    assert_eq!(
        w.refused(Command::RotateKey {
            node: other,
            rotation: taken
        }),
        "node-key-in-use"
    );
    let foreign = w.rotation(node, "fourth");
    assert_eq!(
        w.refused(Command::RotateKey {
            node: other,
            rotation: foreign
        }),
        "wrong-node-key"
    );
    w.check_replay();
}

#[test]
fn the_api_key_changes_with_it_and_the_one_before_is_dead() {
    let mut w = World::new();
    let node = w.node("a");
    let rotation = w.rotation(node, "second");
    let before = w.state.key_of_node(node).unwrap();
    let said = w.ok(Command::RotateKey { node, rotation });
    w.keys.insert(node, key("second"));
    assert_eq!(
        labels(&said),
        [
            "node.key_rotated",
            "account.key_revoked",
            "account.key_added"
        ]
    );
    let after = w.state.key_of_node(node).unwrap();
    assert!(w.state.keys[&before].revoked && !w.state.keys[&after].revoked);
    assert_eq!(w.state.keys[&after].hash, rotation.key_hash());
    assert_eq!(w.state.keys[&after].node, Some(node));
    // The same signing key does not come with a third API key afterwards.
    let other = Digest::of(b"a third API key");
    let forged = SignedRotation::sign(node, &key("before"), &key("second"), other);
    assert_eq!(
        w.refused(Command::RotateKey {
            node,
            rotation: forged
        }),
        "wrong-node-key"
    );
    // One that is known already is nobody's new one.
    let known = w.state.keys[&before].hash;
    let again = SignedRotation::sign(node, &key("second"), &key("third"), known);
    assert_eq!(
        w.refused(Command::RotateKey {
            node,
            rotation: again
        }),
        "key-in-use"
    );
    // Whose API key its owner has revoked does not come back with another.
    let account = w.owner(node);
    let key = after;
    w.ok(Command::RevokeKey { account, key });
    let back = w.rotation(node, "third");
    assert_eq!(
        w.refused(Command::RotateKey {
            node,
            rotation: back
        }),
        "unknown-key"
    );
    w.check_replay();
    crate::sample::documents_agree(&w, "rotated");
}

#[test]
fn a_node_has_so_many_keys_and_no_more() {
    let mut w = World::new();
    let node = w.node("a");
    (0..256).for_each(|n| w.rotate(node, &format!("key {n}")));
    let rotation = w.rotation(node, "one more");
    assert_eq!(
        w.refused(Command::RotateKey { node, rotation }),
        "too-many-node-keys"
    );
}
