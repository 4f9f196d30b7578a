//! The log in one SQLite file: the embedded default.
//!
//! sqlx makes the tables and serves readers; [`writer`] is the one connection that appends.

mod checkpoints;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;
use ulid::Ulid;

use self::writer::Writer;
use super::{
    Batch, CommandRow, HeadRow, Log, LogError, LogHead, MIGRATIONS_TABLE, SNAPSHOTS_KEPT,
    StoredEntry, command_from_row, entry_from_row, head_from_row, signed, snapshots,
};
use crate::{merkle::Hash, snapshot::StoredSnapshot};

/// Connections for reading. WAL readers do not disturb the writer; each is a thread and a page cache.
const READERS: u32 = 4;
/// How long to wait for another process that holds the write lock.
const BUSY: Duration = Duration::from_secs(10);
/// Host parameters in one look-up statement; SQLite allows 32,766.
const KEYS_PER_QUERY: usize = 512;

/// The log in one SQLite file, WAL mode, every commit synced (`synchronous=FULL`).
#[derive(Debug)]
pub struct SqliteLog {
    file: PathBuf,
    readers: SqlitePool,
    /// Dropped after a failure, so that the next use starts on a new connection.
    writer: Arc<Mutex<Option<Writer>>>,
}

impl SqliteLog {
    /// Opens the file, creates it where missing, and brings its tables up to date.
    pub async fn open(file: impl AsRef<Path>) -> Result<Self, LogError> {
        let file = file.as_ref().to_owned();
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrator
            .run(&mut connection)
            .await
            .map_err(|e| LogError::Migration(Arc::new(e)))?;
        connection.close().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options);
        Ok(Self {
            file,
            readers,
            writer: Arc::default(),
        })
    }

    /// Connections to the same file, for tables beside the log's.
    pub fn pool(&self) -> &SqlitePool {
        &self.readers
    }

    /// Lends the writer's connection to `work`, on a thread that may block. Dropping the future does not stop `work`: what
    /// it does may still take effect.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        // Moved along, so that a caller who gives up leaves nobody a second connection while this one is at work.
        let mut slot = Arc::clone(&self.writer).lock_owned().await;
        let file = self.file.clone();
        let working = tokio::task::spawn_blocking(move || {
            let mut writer = match slot.take() {
                Some(writer) => writer,
                None => Writer::open(&file)?,
            };
            let done = work(&mut writer);
            // Anything else may have left a transaction open, which dropping the connection rolls back.
            if matches!(done, Ok(_) | Err(LogError::Fenced)) {
                *slot = Some(writer);
            }
            done
        });
        match working.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is going away cancels; then nobody hears the answer.
                Err(_) => std::future::pending().await,
            },
        }
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
        self.write(move |writer| writer.bump(leader, false)).await
    }

    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.write(move |writer| writer.bump(leader, true)).await
    }

    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError> {
        self.write(move |writer| writer.append(&batch)).await
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

    async fn snapshot(&self, size_max: u64) -> Result<Option<StoredSnapshot>, LogError> {
        sqlx::query_as(snapshots::NEWEST)
            .bind(signed(size_max)?)
            .fetch_optional(&self.readers)
            .await?
            .map(snapshots::from_row)
            .transpose()
    }

    async fn keep_snapshot(&self, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        let mut tx = self.readers.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(snapshots::KEEP)
            .bind(signed(snapshot.size)?)
            .bind(snapshot.version.as_ref())
            .bind(snapshot.root.as_ref())
            .bind(&snapshot.state)
            .bind(snapshot.checksum.as_ref())
            .bind(snapshot.time.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(snapshots::DROP)
            .bind(signed(snapshot.size)?)
            .bind(i64::from(SNAPSHOTS_KEPT))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
