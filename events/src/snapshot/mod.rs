//! A state at a position, kept so that a start need not fold the whole log: a cache, and never the truth.
//!
//! A snapshot is used only if the code that wrote it is this code, its checksum fits, and the entries after it lead
//! to the head's Merkle root, which shows that it was made of this log. Whatever is doubtful is passed over, in the
//! end for a replay from position 0. Audits do not look here: who can write to the database could write a false
//! state with a true root, and a replay is what finds that out.
//!
//! Knows nothing of any particular machine or database.

mod keeper;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    io::{Read as _, Write as _},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use self::keeper::Keeper;
use crate::{
    envelope::Timestamp,
    log::{Head, Log},
    machine::Machine,
    merkle::Hash,
    replay::{Replay, ReplayError, load},
    tail::{StreamEnd, Tail},
};

/// How many snapshots a log keeps: one to start from, and one before it in case that one is of no use.
pub const SNAPSHOTS_KEPT: u32 = 2;
/// Largest snapshot in bytes, compressed: half of what PostgreSQL and SQLite take in one value.
pub const SNAPSHOT_BYTES_MAX: usize = 512 << 20;
/// Largest snapshot in bytes, expanded: a damaged one must not take all memory.
const EXPANDED_BYTES_MAX: u64 = 16 << 30;
/// Fast, and the state shrinks to about a tenth anyway.
const ZSTD_LEVEL: i32 = 1;
/// Part of every version: a change of how a snapshot is written.
const FORMAT: &[u8] = b"aevir.snapshot/1\n";

/// One row of `snapshots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// How many entries are folded into it.
    pub size: u64,
    /// Of the code that folded and wrote it.
    pub version: Hash,
    /// Merkle root over those entries.
    pub root: Hash,
    /// The end of the log and the state, as compressed JSON.
    pub state: Vec<u8>,
    /// SHA-256 over all other fields.
    pub checksum: Hash,
    /// Of the last entry.
    pub time: Timestamp,
}

/// Why a snapshot is not used, or not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("other code wrote it (version {found}, this is {expected})")]
    Version { found: Hash, expected: Hash },
    #[error("its checksum does not fit")]
    Checksum,
    #[error("it can't be read: {0}")]
    Unreadable(String),
    #[error("its Merkle root does not fit its frontier")]
    Root,
    #[error("it can't be written: {0}")]
    Unwritable(String),
    #[error("it has {0} bytes, and {SNAPSHOT_BYTES_MAX} is the most")]
    TooLarge(usize),
}

/// The end of the log, in an order that is the same everywhere.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image<'a> {
    size: u64,
    frontier: String,
    time: Option<i64>,
    /// Name, id and next revision.
    #[serde(borrow)]
    streams: Vec<(Cow<'a, str>, u64, u64)>,
    /// Label and id.
    #[serde(borrow)]
    types: Vec<(Cow<'a, str>, u64)>,
}

impl StoredSnapshot {
    /// Writes down what was folded; `None` for a machine that keeps no snapshots.
    pub(crate) fn of<M: Machine>(
        state: &M::State,
        tail: &Tail,
    ) -> Result<Option<Self>, SnapshotError> {
        let Some(version) = version::<M>() else {
            return Ok(None);
        };
        let bytes = write(state, tail).map_err(|e| SnapshotError::Unwritable(e.to_string()))?;
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge(bytes.len()));
        }
        let mut snapshot = Self {
            size: tail.size(),
            version,
            root: tail.frontier().root(),
            state: bytes,
            checksum: Hash::of(b""),
            time: tail.time().unwrap_or_default(),
        };
        snapshot.checksum = snapshot.computed_checksum();
        Ok(Some(snapshot))
    }

    /// Reads it back. That it belongs to a certain log shows when the entries after it are folded.
    pub(crate) fn read<M: Machine>(&self) -> Result<Replay<M>, SnapshotError> {
        let expected = version::<M>();
        if expected != Some(self.version) {
            let expected = expected.unwrap_or_else(|| Hash::of(b""));
            return Err(SnapshotError::Version {
                found: self.version,
                expected,
            });
        }
        if self.computed_checksum() != self.checksum {
            return Err(SnapshotError::Checksum);
        }
        let unreadable = |e: &dyn std::fmt::Display| SnapshotError::Unreadable(e.to_string());
        let mut json = Vec::new();
        let expanded = zstd::Decoder::new(&self.state[..]).map_err(|e| unreadable(&e))?;
        expanded
            .take(EXPANDED_BYTES_MAX)
            .read_to_end(&mut json)
            .map_err(|e| unreadable(&e))?;
        let json = std::str::from_utf8(&json).map_err(|e| unreadable(&e))?;
        let (image, state) = json
            .split_once('\n')
            .ok_or_else(|| unreadable(&"it has one part only"))?;
        let image: Image = serde_json::from_str(image).map_err(|e| unreadable(&e))?;
        let tail = image.into_tail().map_err(|e| unreadable(&e))?;
        if (tail.size(), tail.frontier().root()) != (self.size, self.root) {
            return Err(SnapshotError::Root);
        }
        let mut state: M::State = serde_json::from_str(state).map_err(|e| unreadable(&e))?;
        M::restored(&mut state);
        Ok(Replay { state, tail })
    }

    /// Over the lengths too, so that no byte can move from one field to the next.
    fn computed_checksum(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(self.size.to_be_bytes());
        hash.update(self.version);
        hash.update(self.root);
        hash.update(self.time.0.to_be_bytes());
        hash.update(&self.state);
        Hash(hash.finalize().into())
    }
}

/// What the machine says of its code, together with this format.
fn version<M: Machine>() -> Option<Hash> {
    let version = M::state_version()?;
    Some(Hash::of(&[FORMAT, version.as_bytes()].concat()))
}

fn write<S: Serialize>(state: &S, tail: &Tail) -> std::io::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    {
        // Serde writes a few bytes at a time.
        let mut out = std::io::BufWriter::with_capacity(1 << 16, &mut out);
        serde_json::to_writer(&mut out, &Image::of(tail))?;
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut out, state)?;
        out.flush()?;
    }
    out.finish()
}

impl<'a> Image<'a> {
    fn of(tail: &'a Tail) -> Self {
        let mut streams: Vec<_> = tail
            .streams
            .iter()
            .map(|(name, end)| (Cow::from(name), end.id, end.next_revision))
            .collect();
        streams.sort_unstable();
        let mut types: Vec<_> = tail
            .types
            .iter()
            .map(|(label, id)| (Cow::from(label), *id))
            .collect();
        types.sort_unstable();
        Self {
            size: tail.size(),
            frontier: hex::encode(tail.frontier().to_bytes()),
            time: tail.time().map(|time| time.0),
            streams,
            types,
        }
    }

    fn into_tail(self) -> Result<Tail, String> {
        let frontier = hex::decode(&self.frontier).map_err(|e| e.to_string())?;
        let frontier =
            crate::merkle::Frontier::from_bytes(self.size, &frontier).map_err(|e| e.to_string())?;
        let streams = self
            .streams
            .into_iter()
            .map(|(name, id, next_revision)| (name.into_owned(), StreamEnd { id, next_revision }));
        Ok(Tail {
            streams: streams.collect(),
            types: self
                .types
                .into_iter()
                .map(|(label, id)| (label.into_owned(), id))
                .collect(),
            frontier,
            time: self.time.map(Timestamp),
        })
    }
}

/// A state that was brought up to a head.
pub(crate) struct Restored<M: Machine> {
    pub(crate) replay: Replay<M>,
    /// Size of the snapshot that it began with, or 0.
    pub(crate) snapshot: u64,
}

/// Brings a state up to `head`: from the newest snapshot that is good for it, or else from position 0.
pub(crate) async fn restore<M: Machine>(
    log: &dyn Log,
    head: Head,
) -> Result<Restored<M>, ReplayError> {
    let mut at_most = head.size;
    while M::state_version().is_some() && at_most > 0 {
        let stored = match log.snapshot(at_most).await {
            Ok(Some(stored)) => stored,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "snapshots can't be looked up; replaying the whole log");
                break;
            }
        };
        let size = stored.size;
        let read = tokio::task::spawn_blocking(move || stored.read::<M>()).await;
        let reason = match read {
            Ok(Ok(replay)) => match load(log, replay, head).await {
                Ok(replay) => {
                    return Ok(Restored {
                        replay,
                        snapshot: size,
                    });
                }
                // The log can't be read, from wherever.
                Err(error @ ReplayError::Log(_)) => return Err(error),
                Err(ReplayError::Damage(damage)) => damage.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(size, reason, "a snapshot is passed over");
        at_most = size.saturating_sub(1);
    }
    let replay = load(log, Replay::default(), head).await?;
    Ok(Restored {
        replay,
        snapshot: 0,
    })
}
