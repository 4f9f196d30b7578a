//! Folding entries from position 0 into a state, with every check that the entries alone allow.
//!
//! Used by audits, and, through [`load`], by the executor's start and recovery. Stops at the first entry that is
//! not what it must be, and says where and why.

use std::{any::Any, panic::AssertUnwindSafe};

use crate::{
    canonical::canonical_hash,
    entry::Entry,
    envelope::Recorded,
    log::{Head, Log, LogError, StoredEntry},
    machine::{Corrupt, Machine},
    merkle::Hash,
    tail::{Damage, Flaw, Tail},
};

/// Entries read from the log at once: large enough to hide the round trip, at most 33 MB.
const PAGE: usize = 512;

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

/// A fold under way, one entry at a time.
pub struct Replay<M: Machine> {
    state: M::State,
    tail: Tail,
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

/// Folds entries from position 0, such as an export's.
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
    let mut replay = Replay::<M>::default();
    walk(log, &mut replay.tail, head, |tail, stored| {
        tail.check_row(stored)?;
        let recorded = tail.admit_canonical(&stored.entry)?;
        evolve::<M>(&mut replay.state, &recorded).map_err(|e| tail.refused(e))
    })
    .await?;
    Ok(replay.finish())
}

/// Lower-case hex of the SHA-256 of the state's canonical JSON. Integers beyond ±(2^53 - 1) count as strings.
///
/// # Errors
/// When the state has no JSON form, such as a map whose keys aren't strings.
pub fn state_hash<S: serde::Serialize + ?Sized>(state: &S) -> Result<String, serde_json::Error> {
    Ok(canonical_hash(state)?.to_string())
}

/// Brings a tail and any number of states that belong to it up to `head`.
pub(crate) async fn load<M: Machine>(
    log: &dyn Log,
    tail: &mut Tail,
    states: &mut [&mut M::State],
    head: Head,
) -> Result<(), ReplayError> {
    walk(log, tail, head, |tail, stored| {
        let recorded = tail.admit_stored(stored)?;
        states
            .iter_mut()
            .try_for_each(|state| evolve::<M>(state, &recorded))
            .map_err(|e| tail.refused(e))
    })
    .await
}

/// Visits the rows between `tail` and `head`, then compares the root.
async fn walk(
    log: &dyn Log,
    tail: &mut Tail,
    head: Head,
    mut visit: impl FnMut(&mut Tail, &StoredEntry) -> Result<(), Damage>,
) -> Result<(), ReplayError> {
    while tail.size() < head.size {
        let left = usize::try_from(head.size - tail.size()).unwrap_or(PAGE);
        let page = log.read(tail.size(), left.min(PAGE)).await?;
        if page.is_empty() {
            return Err(tail.damage(Flaw::Missing).into());
        }
        for stored in &page {
            visit(tail, stored)?;
        }
    }
    let computed = tail.frontier().root();
    if computed != head.root {
        return Err(tail
            .damage(Flaw::Root {
                computed,
                head: head.root,
            })
            .into());
    }
    Ok(())
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
