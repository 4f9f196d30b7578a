//! The log in one SQLite file: the embedded default.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;
use ulid::Ulid;

use super::{
    Batch, CommandRow, HeadRow, Log, LogError, LogHead, MIGRATIONS_TABLE, NewEvent, StoredEntry,
    command_from_row, entry_from_row, head_from_row, signed,
};
use crate::merkle::Hash;

/// Connections for reading. WAL readers do not disturb the writer; each is a thread and a page cache.
const READERS: u32 = 4;
/// How long to wait for another process that holds the write lock.
const BUSY: Duration = Duration::from_secs(10);
/// Host parameters in one look-up statement; SQLite allows 32,766.
const KEYS_PER_QUERY: usize = 512;

/// The log in one SQLite file, WAL mode, every commit synced (`synchronous=FULL`).
#[derive(Debug)]
pub struct SqliteLog {
    options: SqliteConnectOptions,
    readers: SqlitePool,
    /// Dropped after any failure, so that the next use starts on a new connection.
    writer: Mutex<Option<SqliteConnection>>,
}

impl SqliteLog {
    /// Opens the file, creates it where missing, and brings its tables up to date.
    pub async fn open(file: impl AsRef<Path>) -> Result<Self, LogError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrator
            .run(&mut writer)
            .await
            .map_err(|e| LogError::Migration(Arc::new(e)))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.clone());
        Ok(Self {
            options,
            readers,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Connections to the same file, for tables beside the log's.
    pub fn pool(&self) -> &SqlitePool {
        &self.readers
    }

    async fn connection(
        &self,
        slot: &mut Option<SqliteConnection>,
    ) -> Result<SqliteConnection, LogError> {
        match slot.take() {
            Some(connection) => Ok(connection),
            None => Ok(SqliteConnection::connect_with(&self.options).await?),
        }
    }

    /// Bumps the epoch for `leader`; where `held`, only if that leader holds it now.
    async fn bump(&self, leader: Ulid, held: bool) -> Result<LogHead, LogError> {
        let mut slot = self.writer.lock().await;
        let mut connection = self.connection(&mut slot).await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        // `fetch_all`, because SQLite finishes a statement only when it is stepped to its end.
        let rows = sqlx::query_as::<_, HeadRow>(
            "UPDATE log_head SET epoch = epoch + 1, leader = ?1 WHERE NOT ?2 OR leader = ?1
             RETURNING epoch, leader, size, root, frontier",
        )
        .bind(leader.to_bytes().to_vec())
        .bind(held)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        *slot = Some(connection);
        rows.into_iter()
            .next()
            .map_or(Err(LogError::Fenced), head_from_row)
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn head(&self) -> Result<LogHead, LogError> {
        let row = sqlx::query_as::<_, HeadRow>(
            "SELECT epoch, leader, size, root, frontier FROM log_head",
        )
        .fetch_one(&self.readers)
        .await?;
        head_from_row(row)
    }

    async fn claim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.bump(leader, false).await
    }

    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.bump(leader, true).await
    }

    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError> {
        let mut slot = self.writer.lock().await;
        let mut connection = self.connection(&mut slot).await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let updated = sqlx::query("UPDATE log_head SET size = ?1, root = ?2, frontier = ?3 WHERE epoch = ?4 AND size = ?5")
            .bind(signed(batch.frontier.size())?)
            .bind(batch.root.as_ref())
            .bind(batch.frontier.to_bytes())
            .bind(signed(batch.epoch)?)
            .bind(signed(batch.base)?)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if updated != 1 {
            tx.rollback().await?;
            *slot = Some(connection);
            return Err(LogError::Fenced);
        }
        for event in &batch.events {
            insert_event(&mut tx, event).await?;
        }
        for command in &batch.commands {
            sqlx::query("INSERT INTO commands (id, payload, position, events) VALUES (?, ?, ?, ?)")
                .bind(command.id.as_ref())
                .bind(command.payload.as_ref())
                .bind(signed(command.position)?)
                .bind(i64::from(command.events))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit()
            .await
            .map_err(|e| LogError::Unknown(Arc::new(e)))?;
        *slot = Some(connection);
        Ok(())
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        sqlx::query_as("SELECT position, entry, leaf FROM events WHERE position >= ? ORDER BY position LIMIT ?")
            .bind(signed(from)?)
            .bind(signed(limit as u64)?)
            .fetch_all(&self.readers)
            .await?
            .into_iter()
            .map(entry_from_row)
            .collect()
    }

    async fn find_commands(&self, ids: &[Hash]) -> Result<Vec<CommandRow>, LogError> {
        let mut found = Vec::new();
        for ids in ids.chunks(KEYS_PER_QUERY) {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT id, payload, position, events FROM commands WHERE id IN (",
            );
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(id.as_ref());
            }
            query.push(")");
            // Not kept prepared: the text differs with the number of keys.
            let rows = query
                .build_query_as()
                .persistent(false)
                .fetch_all(&self.readers)
                .await?;
            for row in rows {
                found.push(command_from_row(row)?);
            }
        }
        Ok(found)
    }
}

async fn insert_event(connection: &mut SqliteConnection, event: &NewEvent) -> Result<(), LogError> {
    if let Some(name) = event.new_stream() {
        sqlx::query("INSERT INTO streams (id, name) VALUES (?, ?)")
            .bind(signed(event.stream_id)?)
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(name) = event.new_type() {
        sqlx::query("INSERT INTO event_types (id, name) VALUES (?, ?)")
            .bind(signed(event.type_id)?)
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "INSERT INTO events (position, stream, revision, id, type, schema, time, entry, leaf)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(signed(event.position)?)
    .bind(signed(event.stream_id)?)
    .bind(signed(event.revision)?)
    .bind(event.id.to_bytes().to_vec())
    .bind(signed(event.type_id)?)
    .bind(i64::from(event.schema))
    .bind(event.time.0)
    .bind(event.entry.as_ref())
    .bind(event.leaf.as_ref())
    .execute(connection)
    .await?;
    Ok(())
}
