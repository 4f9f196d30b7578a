//! How nodes of the scenarios upload and seal what they found.

use aevir_platform::{
    amount::Count,
    command::Command,
    event::Event,
    hexbytes::Hex,
    report::{BlobRef, SignedCommitment, commit_message},
};
use ed25519_dalek::Signer as _;

use crate::world::{Run, World};

impl World {
    pub fn commitment(&self, run: &Run) -> SignedCommitment {
        let key = &self.keys[&run.report.node];
        let digest = run.report.commitment();
        let signature = Hex(key.sign(&commit_message(digest)).to_bytes());
        SignedCommitment::check(Hex(key.verifying_key().to_bytes()), digest, signature).unwrap()
    }

    /// Uploads the outputs, then seals.
    pub fn commit(&mut self, run: &Run) -> Vec<Event> {
        self.commit_after(run, 0)
    }

    /// The same, and for so many ms there was no leader to take it.
    pub fn commit_after(&mut self, run: &Run, absent_ms: u64) -> Vec<Event> {
        let (node, assignment) = (run.report.node, run.report.assignment);
        for output in &run.report.outputs {
            let blob = BlobRef {
                digest: output.digest,
                size: output.size,
            };
            self.ok(Command::RecordOutput {
                node,
                assignment,
                blob,
            });
        }
        self.ok(self.sealing(run, absent_ms))
    }

    pub fn commit_command(&self, run: &Run) -> Command {
        self.sealing(run, 0)
    }

    fn sealing(&self, run: &Run, absent_ms: u64) -> Command {
        Command::Commit {
            node: run.report.node,
            assignment: run.report.assignment,
            commitment: self.commitment(run),
            absent_ms: Count(absent_ms),
        }
    }
}
