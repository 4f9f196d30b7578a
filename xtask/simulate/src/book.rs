//! The real state machine in memory: commands are decided, their events folded. Nothing is bypassed and nothing is stored.

use aevir_events::{Context, Event as _, LeaderSecret, Recorded, Timestamp};
use aevir_platform::{
    command::Command, decide, digest::Digest, event::Event, evolve, state::State, testing::actor,
};
use anyhow::{Context as _, Result};

/// When a simulation begins, in ms since the epoch of Unix.
pub(crate) const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// State, and what a leader would add to it: times, ids, entropy, positions.
pub(crate) struct Book {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    position: u64,
    decisions: u64,
    seed: u64,
}

impl Book {
    /// An empty log. The seed stands for the leader's secret and for all entropy.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: State::default(),
            now: BEGIN,
            position: 0,
            decisions: 0,
            seed,
        }
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.position
    }

    /// Decides a command at the present time and folds its events.
    ///
    /// # Errors
    /// When the machine refuses it: whoever simulates asks only for what can be had.
    pub(crate) fn submit(&mut self, command: &Command) -> Result<Vec<Event>> {
        self.decisions += 1;
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..].copy_from_slice(&self.decisions.to_be_bytes());
        let context = Context {
            time: self.now,
            actor: actor(command),
            entropy: Digest::of(&seed).0,
            secret: LeaderSecret(Digest::of(&self.seed.to_be_bytes()).0),
        };
        let events = decide(&self.state, command, &context)
            .with_context(|| format!("the machine refuses {command:?}"))?;
        let mut folded = Vec::with_capacity(events.len());
        for event in events {
            let recorded = Recorded {
                position: self.position,
                id: ulid::Ulid::from_parts(self.now.0.unsigned_abs(), u128::from(self.position)),
                stream: event.stream(),
                revision: 0,
                time: self.now,
                actor: context.actor.clone(),
                cause: String::new(),
                event,
            };
            self.position += 1;
            evolve(&mut self.state, &recorded)?;
            folded.push(recorded.event);
        }
        Ok(folded)
    }
}
