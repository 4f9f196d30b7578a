//! A node changes its signing key, and the key before counts no more.

use aevir_platform::{command::Command, digest::Digest, ids::NodeId, rotation::SignedRotation};
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::world::World;

impl World {
    /// A rotation of the node's key to one made from `seed`, signed by the key that it has.
    pub fn rotation(&self, node: NodeId, seed: &str) -> SignedRotation {
        SignedRotation::sign(node, &self.keys[&node], &key(seed))
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
