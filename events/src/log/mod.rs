//! Where entries are kept: an append-only table behind a compare-and-set on one head row.
//!
//! A [`Log`] stores what it is given. It assigns nothing and decodes nothing: positions, revisions, leaf hashes
//! and the frontier come from the executor. Knows nothing of machines, events' meanings or callers.

mod postgres;
mod rows;
mod snapshots;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use ulid::Ulid;

pub use self::{
    postgres::PostgresLog,
    rows::{LogRows, Row, RowPage},
    sqlite::SqliteLog,
};
use crate::{
    entry::Entry,
    envelope::Timestamp,
    merkle::{Frontier, Hash},
    snapshot::{SNAPSHOTS_KEPT, StoredSnapshot},
    tlog::CheckpointRow,
};

/// Name of the table that remembers which migrations ran; not sqlx's default, so that other crates can keep
/// tables with migrations of their own in the same database.
const MIGRATIONS_TABLE: &str = "log_migrations";

/// Where entries are kept. All methods may be called concurrently; appends are serialised by the store. A call whose future
/// is dropped may still take effect.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// The head as last committed.
    async fn head(&self) -> Result<LogHead, LogError>;

    /// Takes leadership: bumps the epoch, which deposes whoever held it, and answers the head.
    /// Waits for an append that is under way in the store.
    async fn claim(&self, leader: Ulid) -> Result<LogHead, LogError>;

    /// Bumps the epoch only if `leader` still holds it; otherwise [`LogError::Fenced`]. After it has succeeded, no
    /// earlier append of this leader can still take effect.
    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError>;

    /// Stores the whole batch or nothing, durably, if the head still has the batch's epoch and size.
    ///
    /// # Errors
    /// [`LogError::Fenced`] and [`LogError::Unavailable`]: nothing was stored. [`LogError::Unknown`]: the
    /// connection was lost while committing; [`Log::reclaim`] and compare.
    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError>;

    /// Says that `batch` will most likely be appended next, while the one before it is on its way: a store can do now what takes
    /// only the processor. Nothing is sent, and the batch may be given up.
    fn prepare(&self, batch: &Arc<Batch>) {
        let _ = batch;
    }

    /// At most `limit` entries from position `from` on, in order of position. Gaps are not hidden.
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError>;

    /// Outcomes of those commands among `ids` that are known, in any order.
    async fn find_commands(&self, ids: &[Hash]) -> Result<Vec<CommandRow>, LogError>;

    /// The newest snapshot of at most `size_max` entries. A store may keep none.
    async fn snapshot(&self, size_max: u64) -> Result<Option<StoredSnapshot>, LogError> {
        let _ = size_max;
        Ok(None)
    }

    /// Keeps a snapshot, and of those there were the newest that are not newer, [`SNAPSHOTS_KEPT`] in all.
    async fn keep_snapshot(&self, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        let _ = snapshot;
        Ok(())
    }
}

/// What a database's own client said.
pub type StoreFault = Arc<dyn std::error::Error + Send + Sync>;

/// Why the log did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("another writer has taken over the log")]
    Fenced,
    #[error("the connection was lost at commit, so the outcome is unknown")]
    Unknown(#[source] StoreFault),
    #[error("the log's database is unavailable")]
    Unavailable(#[source] StoreFault),
    #[error("the log's tables can't be brought up to date")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
    #[error("the log is damaged at position {position}: {reason}")]
    Corrupt { position: u64, reason: String },
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// The head row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// Bumped with every change of leadership.
    pub epoch: u64,
    /// Who holds the epoch; nobody before the first claim.
    pub leader: Option<Ulid>,
    pub root: Hash,
    /// Also says the log's size.
    pub frontier: Frontier,
}

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of entries, which is the next position.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

impl LogHead {
    /// Without what only a writer needs.
    pub fn head(&self) -> Head {
        Head {
            size: self.size(),
            root: self.root,
        }
    }

    /// Number of entries, which is the next position.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }
}

/// One row of `events`, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub position: u64,
    pub entry: Entry,
    /// The stored leaf hash, which a reader compares with the entry's own.
    pub leaf: Hash,
}

impl StoredEntry {
    /// Whether the entry is still what its leaf hash was made of.
    pub fn is_intact(&self) -> bool {
        self.entry.leaf() == self.leaf
    }
}

/// One row of `events`, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub position: u64,
    /// Position of the stream's first event.
    pub stream_id: u64,
    pub stream: String,
    pub revision: u64,
    pub id: Ulid,
    /// Position of the first event with this label.
    pub type_id: u64,
    pub label: &'static str,
    pub schema: u16,
    pub time: Timestamp,
    pub entry: Entry,
    pub leaf: Hash,
}

impl NewEvent {
    /// The name of the stream where this event is its first.
    pub(crate) fn new_stream(&self) -> Option<&str> {
        (self.stream_id == self.position).then_some(&self.stream)
    }

    /// The label where this event is the first with it.
    pub(crate) fn new_type(&self) -> Option<&str> {
        (self.type_id == self.position).then_some(self.label)
    }
}

/// The remembered outcome of one command that came with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandRow {
    /// SHA-256 over actor and key.
    pub id: Hash,
    /// SHA-256 of the command.
    pub payload: Hash,
    /// Position of its first event; the log's size at that moment if there is none.
    pub position: u64,
    pub events: u32,
}

/// What one append stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The head's epoch as this writer knows it.
    pub epoch: u64,
    /// The head's size as this writer knows it, and the position of the first event.
    pub base: u64,
    pub events: Vec<NewEvent>,
    pub commands: Vec<CommandRow>,
    /// The tree with the batch's events in it.
    pub frontier: Frontier,
    pub root: Hash,
}

/// An unsigned number as the signed one that both databases store.
fn signed(n: u64) -> Result<i64, LogError> {
    i64::try_from(n).map_err(|e| LogError::from(sqlx::Error::Encode(e.into())))
}

/// A stored number back to the unsigned one; a negative one was put there by somebody else.
fn unsigned(position: u64, column: &str, n: i64) -> Result<u64, LogError> {
    u64::try_from(n).map_err(|_| corrupt(position, format!("column `{column}` is {n}")))
}

fn corrupt(position: u64, reason: impl Into<String>) -> LogError {
    LogError::Corrupt {
        position,
        reason: reason.into(),
    }
}

fn stored_hash(position: u64, column: &str, bytes: &[u8]) -> Result<Hash, LogError> {
    let length = bytes.len();
    Hash::from_slice(bytes).ok_or_else(|| {
        corrupt(
            position,
            format!("column `{column}` has {length} bytes, not 32"),
        )
    })
}

/// `log_head` as both databases return it.
type HeadRow = (i64, Option<Vec<u8>>, i64, Vec<u8>, Vec<u8>);

fn head_from_row((epoch, leader, size, root, frontier): HeadRow) -> Result<LogHead, LogError> {
    let size = unsigned(0, "log_head.size", size)?;
    let leader = match leader {
        None => None,
        Some(bytes) => {
            let bytes = <[u8; 16]>::try_from(bytes)
                .map_err(|_| corrupt(size, "column `log_head.leader` is no ULID"))?;
            Some(Ulid::from_bytes(bytes))
        }
    };
    Ok(LogHead {
        epoch: unsigned(size, "log_head.epoch", epoch)?,
        leader,
        root: stored_hash(size, "log_head.root", &root)?,
        frontier: Frontier::from_bytes(size, &frontier)
            .map_err(|e| corrupt(size, e.to_string()))?,
    })
}

fn entry_from_row(
    (position, entry, leaf): (i64, Vec<u8>, Vec<u8>),
) -> Result<StoredEntry, LogError> {
    let position = unsigned(0, "events.position", position)?;
    let leaf = stored_hash(position, "events.leaf", &leaf)?;
    Ok(StoredEntry {
        position,
        entry: Entry(entry),
        leaf,
    })
}

fn command_from_row(
    (id, payload, position, events): (Vec<u8>, Vec<u8>, i64, i64),
) -> Result<CommandRow, LogError> {
    let position = unsigned(0, "commands.position", position)?;
    let events = unsigned(position, "commands.events", events)?;
    Ok(CommandRow {
        id: stored_hash(position, "commands.id", &id)?,
        payload: stored_hash(position, "commands.payload", &payload)?,
        position,
        events: u32::try_from(events)
            .map_err(|_| corrupt(position, "column `commands.events` is too large"))?,
    })
}

/// `checkpoints` as both databases return it.
type CheckpointColumns = (i64, Vec<u8>, String, i64);

fn checkpoint_from_row(
    (size, root, note, time): CheckpointColumns,
) -> Result<CheckpointRow, LogError> {
    let size = unsigned(0, "checkpoints.size", size)?;
    Ok(CheckpointRow {
        size,
        root: stored_hash(size, "checkpoints.root", &root)?,
        note,
        time: Timestamp(time),
    })
}

#[cfg(test)]
mod tests;
