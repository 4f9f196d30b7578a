//! Writing a log without an executor or a database: for benchmarks and tests that need a long and true history.

use std::sync::Arc;

use crate::{
    entry::EntryError,
    envelope::{Recorded, Timestamp},
    log::{Batch, Head, NewEvent},
    machine::{Context, Corrupt, LeaderSecret, Machine},
    merkle::Hash,
    replay::evolve,
    tail::{Tail, command_ulid},
};

/// Decides commands one after the other and gives their events the places that an executor would give them.
///
/// Everything that varies is an argument, so that the same calls write the same bytes.
pub struct Author<M: Machine> {
    state: M::State,
    tail: Tail,
    rows: Vec<NewEvent>,
    /// Position of the first of `rows`.
    base: u64,
    commands: u64,
    seed: u64,
}

/// The events of one decision, in order.
pub type Decided<E> = Vec<Arc<Recorded<E>>>;

/// Why a command wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError<R> {
    #[error(transparent)]
    Rejected(R),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("the state refuses what was decided on it: {0}")]
    Corrupt(#[from] Corrupt),
}

impl<M: Machine> std::fmt::Debug for Author<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Author")
            .field("size", &self.tail.size())
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Author<M> {
    /// An empty log. The seed stands for all randomness.
    pub fn new(seed: u64) -> Self {
        Self {
            state: M::State::default(),
            tail: Tail::default(),
            rows: Vec::new(),
            base: 0,
            commands: 0,
            seed,
        }
    }

    /// Decides a command and writes its events.
    ///
    /// # Errors
    /// When the machine refuses it, or its events are none that a log can hold; nothing is written then.
    pub fn submit(
        &mut self,
        actor: &str,
        now: Timestamp,
        command: &M::Command,
    ) -> Result<Decided<M::Event>, AuthorError<M::Rejection>> {
        self.commands += 1;
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..].copy_from_slice(&self.commands.to_be_bytes());
        let context = Context {
            time: self.tail.clock(now),
            actor: actor.to_owned(),
            entropy: Hash::of(&seed).0,
            secret: LeaderSecret(Hash::of(&self.seed.to_be_bytes()).0),
        };
        let events = M::decide(&self.state, command, &context).map_err(AuthorError::Rejected)?;
        let cause = command_ulid(&context).to_string();
        let staged = self.tail.stage(events, &context, &cause)?;
        for event in &staged {
            evolve::<M>(&mut self.state, &event.recorded)?;
        }
        self.tail.accept(&staged);
        let (recorded, rows): (Vec<_>, Vec<_>) = staged
            .into_iter()
            .map(|staged| (staged.recorded, staged.row))
            .unzip();
        self.rows.extend(rows);
        Ok(recorded)
    }

    /// The state after everything that was submitted.
    pub fn state(&self) -> &M::State {
        &self.state
    }

    /// The end of the log as written so far, what was taken included.
    pub fn head(&self) -> Head {
        Head {
            size: self.tail.size(),
            root: self.tail.frontier().root(),
        }
    }

    /// How many events were written and not taken yet.
    pub fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Takes what was written since the last time, ready for [`crate::Log::append`] by the leader of `epoch`.
    pub fn take(&mut self, epoch: u64) -> Batch {
        let base = std::mem::replace(&mut self.base, self.tail.size());
        let frontier = self.tail.frontier().clone();
        Batch {
            epoch,
            base,
            events: std::mem::take(&mut self.rows),
            commands: Vec::new(),
            root: frontier.root(),
            frontier,
        }
    }
}
