//! Folding entries from position 0 into a state, with every check that the entries alone allow.
//!
//! Used by audits, and, through [`load`], by the executor's start and recovery. Stops at the first entry that is
//! not what it must be, and says where and why.

mod load;
mod pipeline;
#[cfg(test)]
mod tests;

use std::{any::Any, panic::AssertUnwindSafe};

pub(crate) use self::load::load;
pub use self::pipeline::{CHUNK_ENTRIES, Found, Inspect, Inspected, Stopped, Visit, workers};

use crate::{
    canonical::canonical_hash,
    entry::Entry,
    envelope::Recorded,
    log::{Log, LogError},
    machine::{Corrupt, Machine},
    merkle::Hash,
    tail::{Damage, Tail},
};

/// Why entries could not be replayed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error(transparent)]
    Log(LogError),
}

impl From<LogError> for ReplayError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A fold under way: one entry at a time with [`Replay::push`], or on all cores with [`Replay::run`].
pub struct Replay<M: Machine> {
    pub(crate) state: M::State,
    pub(crate) tail: Tail,
}

impl<M: Machine> std::fmt::Debug for Replay<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Default for Replay<M> {
    fn default() -> Self {
        Self {
            state: M::State::default(),
            tail: Tail::default(),
        }
    }
}

impl<M: Machine> Replay<M> {
    /// Checks the next entry (canonical bytes, position, revision, time, the state's consent) and folds it.
    /// After an error the state is of no use.
    pub fn push(&mut self, entry: &Entry) -> Result<Recorded<M::Event>, Damage> {
        let recorded = self.tail.admit_canonical(entry)?;
        evolve::<M>(&mut self.state, &recorded).map_err(|e| self.tail.refused(e))?;
        Ok(recorded)
    }

    /// The state after the entries so far.
    pub fn state(&self) -> &M::State {
        &self.state
    }

    /// How many entries there were.
    pub fn size(&self) -> u64 {
        self.tail.size()
    }

    /// The Merkle root over them.
    pub fn root(&self) -> Hash {
        self.tail.frontier().root()
    }

    /// The end result.
    pub fn finish(self) -> Replayed<M> {
        Replayed {
            size: self.size(),
            root: self.root(),
            state: self.state,
        }
    }
}

/// What entries fold into.
pub struct Replayed<M: Machine> {
    pub state: M::State,
    pub size: u64,
    pub root: Hash,
}

impl<M: Machine> std::fmt::Debug for Replayed<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replayed")
            .field("size", &self.size)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Folds entries from position 0, such as an export's, on one thread.
pub fn replay<M: Machine>(entries: impl IntoIterator<Item = Entry>) -> Result<Replayed<M>, Damage> {
    let mut replay = Replay::<M>::default();
    for entry in entries {
        replay.push(&entry)?;
    }
    Ok(replay.finish())
}

/// Folds a log up to its head as it is now, and compares leaf hashes and the Merkle root with the stored ones.
pub async fn replay_log<M: Machine>(log: &dyn Log) -> Result<Replayed<M>, ReplayError> {
    let head = log.head().await?.head();
    Ok(load(log, Replay::<M>::default(), head).await?.finish())
}

/// Lower-case hex of the SHA-256 of the state's canonical JSON. Integers beyond ±(2^53 - 1) count as strings.
///
/// # Errors
/// When the state has no JSON form, such as a map whose keys aren't strings.
pub fn state_hash<S: serde::Serialize + ?Sized>(state: &S) -> Result<String, serde_json::Error> {
    Ok(canonical_hash(state)?.to_string())
}

/// Folds one event. A panic counts as a refusal: a bad record must not become a restart loop without a position.
pub(crate) fn evolve<M: Machine>(
    state: &mut M::State,
    recorded: &Recorded<M::Event>,
) -> Result<(), Corrupt> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| M::evolve(state, recorded))) {
        Ok(result) => result,
        Err(panic) => Err(Corrupt(format!(
            "evolve panicked: {}",
            panic_text(panic.as_ref())
        ))),
    }
}

/// The message of a caught panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
