//! Snapshots as rows; both databases understand the same statements.

use super::{LogError, stored_hash, unsigned};
use crate::{envelope::Timestamp, snapshot::StoredSnapshot};

/// The newest one of at most $1 entries.
pub(super) const NEWEST: &str = "SELECT size, version, root, state, checksum, time FROM snapshots
     WHERE size <= $1 ORDER BY size DESC LIMIT 1";
pub(super) const KEEP: &str = "INSERT INTO snapshots (size, version, root, state, checksum, time)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (size) DO UPDATE SET version = excluded.version, root = excluded.root,
         state = excluded.state, checksum = excluded.checksum, time = excluded.time";
/// All but the newest $2 of at most $1 entries: one that is newer belongs to a log that was since set back.
pub(super) const DROP: &str = "DELETE FROM snapshots WHERE size > $1 OR size NOT IN (
     SELECT size FROM snapshots WHERE size <= $1 ORDER BY size DESC LIMIT $2)";

/// A row as both databases return it.
pub(super) type SnapshotRow = (i64, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, i64);

pub(super) fn from_row(
    (size, version, root, state, checksum, time): SnapshotRow,
) -> Result<StoredSnapshot, LogError> {
    let size = unsigned(0, "snapshots.size", size)?;
    Ok(StoredSnapshot {
        size,
        version: stored_hash(size, "snapshots.version", &version)?,
        root: stored_hash(size, "snapshots.root", &root)?,
        state,
        checksum: stored_hash(size, "snapshots.checksum", &checksum)?,
        time: Timestamp(time),
    })
}
