//! The one connection that appends (snapshots go by a reader's): prepared statements stepped row by row, on one thread that may block.
//!
//! Through sqlx every statement is handed to a thread of its own and every value copied on the way, which costs more
//! than the insert itself. Knows rows and transactions, nothing of runtimes.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use ulid::Ulid;

use super::BUSY;
use crate::{
    log::{Batch, CommandRow, HeadRow, LogError, LogHead, NewEvent, head_from_row, signed},
    tlog::{CHECKPOINTS_KEPT, CheckpointRow},
};

/// Moves the head, if it is still where the batch starts.
const COMPARE_AND_SET: &str = "
    UPDATE log_head SET size = ?1, root = ?2, frontier = ?3 WHERE epoch = ?4 AND size = ?5";
const NEW_EPOCH: &str = "
    UPDATE log_head SET epoch = epoch + 1, leader = ?1 WHERE NOT ?2 OR leader = ?1
    RETURNING epoch, leader, size, root, frontier";
const STREAM: &str = "INSERT INTO streams (id, name) VALUES (?, ?)";
const TYPE: &str = "INSERT INTO event_types (id, name) VALUES (?, ?)";
const COMMAND: &str = "INSERT INTO commands (id, payload, position, events) VALUES (?, ?, ?, ?)";
const EVENT: &str = "
    INSERT INTO events (position, stream, revision, id, type, schema, time, entry, leaf)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const CHECKPOINT: &str = "
    INSERT INTO checkpoints (size, root, note, time) SELECT ?1, ?2, ?3, ?4
    FROM log_head WHERE leader = ?5 AND size >= ?1
    AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.size >= ?1)";
const OLD_CHECKPOINTS: &str = "
    DELETE FROM checkpoints WHERE size <=
    (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET ?1)";

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// The connection. Each call is one transaction; after an error other than [`LogError::Fenced`] it must be dropped.
#[derive(Debug)]
pub(super) struct Writer(Connection);

impl Writer {
    /// Opens a file that exists and has its tables.
    pub(super) fn open(file: &Path) -> Result<Self, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        // That the file has a write-ahead log it remembers itself; how commits are synced it does not.
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self(connection))
    }

    /// Bumps the epoch for `leader`; where `held`, only if that leader holds it now.
    pub(super) fn bump(&mut self, leader: Ulid, held: bool) -> Result<LogHead, LogError> {
        let tx = self.begin()?;
        let head = {
            let mut update = tx.prepare_cached(NEW_EPOCH)?;
            let rows = update.query_map(params![leader.to_bytes(), held], |row| {
                HeadRow::try_from(row)
            })?;
            // All of them, because SQLite finishes a statement only when it is stepped to its end.
            rows.collect::<Result<Vec<_>, _>>()?
        };
        tx.commit()?;
        head.into_iter()
            .next()
            .map_or(Err(LogError::Fenced), head_from_row)
    }

    /// Stores the whole batch, if the head still has its epoch and size.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let tx = self.begin()?;
        let updated = tx.prepare_cached(COMPARE_AND_SET)?.execute(params![
            signed(batch.frontier.size())?,
            batch.root.as_ref(),
            batch.frontier.to_bytes(),
            signed(batch.epoch)?,
            signed(batch.base)?,
        ])?;
        if updated != 1 {
            tx.rollback()?;
            return Err(LogError::Fenced);
        }
        insert(&tx, batch)?;
        tx.commit().map_err(|e| LogError::Unknown(Arc::new(e)))
    }

    /// Keeps a signed checkpoint if `leader` leads and it is the newest; answers whether it was kept.
    pub(super) fn record_checkpoint(
        &mut self,
        leader: Ulid,
        row: &CheckpointRow,
    ) -> Result<bool, LogError> {
        let tx = self.begin()?;
        let inserted = tx.prepare_cached(CHECKPOINT)?.execute(params![
            signed(row.size)?,
            row.root.as_ref(),
            row.note,
            row.time.0,
            leader.to_bytes(),
        ])?;
        tx.prepare_cached(OLD_CHECKPOINTS)?
            .execute([CHECKPOINTS_KEPT])?;
        tx.commit()?;
        Ok(inserted == 1)
    }

    /// Takes the write lock at once: a transaction that began by reading could not wait for it.
    fn begin(&mut self) -> Result<Transaction<'_>, LogError> {
        Ok(self
            .0
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

fn insert(tx: &Transaction<'_>, batch: &Batch) -> Result<(), LogError> {
    let mut stream = tx.prepare_cached(STREAM)?;
    let mut label = tx.prepare_cached(TYPE)?;
    let mut command = tx.prepare_cached(COMMAND)?;
    let mut event = tx.prepare_cached(EVENT)?;
    for CommandRow {
        id,
        payload,
        position,
        events,
    } in &batch.commands
    {
        command.execute(params![
            id.as_ref(),
            payload.as_ref(),
            signed(*position)?,
            events
        ])?;
    }
    for row in &batch.events {
        if let Some(name) = row.new_stream() {
            stream.execute(params![signed(row.stream_id)?, name])?;
        }
        if let Some(name) = row.new_type() {
            label.execute(params![signed(row.type_id)?, name])?;
        }
        let NewEvent {
            position,
            stream_id,
            revision,
            type_id,
            ..
        } = row;
        event.execute(params![
            signed(*position)?,
            signed(*stream_id)?,
            signed(*revision)?,
            row.id.to_bytes(),
            signed(*type_id)?,
            row.schema,
            row.time.0,
            row.entry.as_ref(),
            row.leaf.as_ref(),
        ])?;
    }
    Ok(())
}
