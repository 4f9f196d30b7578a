//! Nodes of the history change, come back as other machines, leave, and are suspended for a while.

use ed25519_dalek::SigningKey;

use super::{History, NODES, profile};
use crate::{
    amount::Amount,
    command::{Availability, Command, ComputeCheck, Subject},
    definition::TaskType,
    digest::Digest,
    event::ComputeOutcome,
    hexbytes::Hex,
    ids::NodeId,
    rotation::SignedRotation,
    terms::{NodeTerms, Window},
};

impl History {
    /// Something happens to one node, and leaves as many at work as there were.
    pub(super) fn change_a_node(&mut self) {
        let which = self.below(self.keys.len() as u64) as usize;
        let Some(node) = self.keys.keys().nth(which).copied() else {
            return;
        };
        match self.below(7) {
            0 => {
                self.submit(Command::DrainNode { node });
                self.submit(Command::ResumeNode { node });
            }
            1 => self.change_terms(node),
            2 => self.rotate(node),
            3 => self.suspend(Subject::Node(node)),
            4 => {
                let mut profile = profile(self.state().nodes[&node].profile.name.clone());
                profile.cpu_mfuel_s = Some(1_000 + self.below(2_000) as u32);
                let profile = Box::new(profile);
                self.submit(Command::ChangeProfile { node, profile });
            }
            5 => self.check(node),
            _ => self.replace(node),
        }
    }

    /// Shows how fast its GPU is, or does not.
    fn check(&mut self, node: NodeId) {
        let check = ComputeCheck {
            node,
            class: 3,
            elapsed_ms: 1_000 << self.below(5),
            outcome: match self.below(8) {
                0 => ComputeOutcome::Wrong,
                1 => ComputeOutcome::Silent,
                _ => ComputeOutcome::Shown,
            },
            seed: Hex([7; 32]),
            root: Some(Digest::of(b"values")),
        };
        self.submit(Command::CheckCompute(check));
    }

    fn change_terms(&mut self, node: NodeId) {
        let ask = Amount(self.below(1_000_000) as i64);
        let hours = Window {
            from_min: 0,
            to_min: 10_080,
        };
        let terms = NodeTerms {
            hours: vec![hours],
            asks: [(TaskType::Training, ask)].into(),
            ..NodeTerms::default()
        };
        let terms = Box::new(terms);
        self.submit(Command::ChangeTerms { node, terms });
    }

    fn rotate(&mut self, node: NodeId) {
        let next = Digest::of(&self.below(u64::MAX).to_be_bytes());
        let next = SigningKey::from_bytes(&next.0);
        let rotation =
            SignedRotation::sign(node, &self.keys[&node], &next, Digest::of(next.as_bytes()));
        self.submit(Command::RotateKey { node, rotation });
        self.keys.insert(node, next);
    }

    fn suspend(&mut self, subject: Subject) {
        let reason = "a complaint".to_owned();
        self.submit(Command::Suspend { subject, reason });
        let reason = "it was unfounded".to_owned();
        self.submit(Command::Release { subject, reason });
    }

    /// Leaves, or is revoked, and another one joins.
    fn replace(&mut self, node: NodeId) {
        if self.chance(2) {
            self.submit(Command::LeaveMarket { node });
            self.submit(Command::Tick);
        } else {
            let availability = Availability::Offline;
            self.submit(Command::SetAvailability { node, availability });
            let reason = "its machine was sold".to_owned();
            self.submit(Command::RevokeNode { node, reason });
        }
        self.keys.remove(&node);
        self.joined += 1;
        self.join(NODES + self.joined);
    }
}
