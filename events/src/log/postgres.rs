//! The log in PostgreSQL: one database, one writer at a time, any number of readers.

mod checkpoints;
mod columns;

use std::{
    str::FromStr as _,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::Mutex, time::timeout};
use ulid::Ulid;

use super::{
    Batch, CommandRow, HeadRow, Log, LogError, LogHead, MIGRATIONS_TABLE, SNAPSHOTS_KEPT,
    StoredEntry, command_from_row, entry_from_row, head_from_row, signed, snapshots,
};
use crate::{merkle::Hash, snapshot::StoredSnapshot};

/// Connections for reading; the appender has its own.
const READERS: u32 = 8;
/// How long a reader waits for one of them.
const ACQUIRE: Duration = Duration::from_secs(10);
/// How long an append or a claim may take before its connection is given up. Longer than [`LOCK_TIMEOUT`], so
/// that the server normally gives up first and leaves nothing running.
const WRITE: Duration = Duration::from_secs(30);
/// How long a read may take. The writer looks up idempotency keys and confirms its head by reads, so a server that
/// hangs must not hold them for ever.
const READ: Duration = Duration::from_secs(30);
/// How long a snapshot may take on its way in or out: the largest at 5 MB/s. A rebuild waits for it, and so does a
/// graceful end.
const SNAPSHOT: Duration = Duration::from_secs(120);
/// How long the server lets a claim wait for the head row, and a checkpoint for another replica's.
const LOCK_TIMEOUT: &str = "10s";
/// A writer's connection that rested for longer is tried out before it is trusted with an append.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// The log in PostgreSQL (15 or newer).
#[derive(Debug)]
pub struct PostgresLog {
    options: PgConnectOptions,
    readers: PgPool,
    /// Dropped after any failure, so that the next use starts on a new connection.
    writer: Mutex<Option<Writer>>,
    /// The batch that was encoded ahead, and its columns.
    prepared: std::sync::Mutex<Option<(Arc<Batch>, PgArguments)>>,
}

#[derive(Debug)]
struct Writer {
    connection: PgConnection,
    used: Instant,
}

impl PostgresLog {
    /// Connects to a URL such as `postgres://user@host/database` and brings the tables up to date.
    pub async fn open(url: &str) -> Result<Self, LogError> {
        Self::open_with(PgConnectOptions::from_str(url)?).await
    }

    /// Connects with ready-made options and brings the tables up to date.
    pub async fn open_with(options: PgConnectOptions) -> Result<Self, LogError> {
        let options = options.application_name("aevir-log");
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options.clone());
        let log = Self {
            options,
            readers,
            writer: Mutex::new(None),
            prepared: std::sync::Mutex::default(),
        };
        let mut writer = log.connect().await?;
        let mut migrator = sqlx::migrate!("migrations/postgres");
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrator
            .run(&mut writer.connection)
            .await
            .map_err(|e| LogError::Migration(Arc::new(e)))?;
        *log.writer.lock().await = Some(writer);
        Ok(log)
    }

    /// Connections to the same database, for tables beside the log's.
    pub fn pool(&self) -> &PgPool {
        &self.readers
    }

    async fn connect(&self) -> Result<Writer, LogError> {
        let options = self
            .options
            .clone()
            .options([("lock_timeout", LOCK_TIMEOUT)]);
        let connecting = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            // An acknowledged event must survive a crash of the server. Stricter settings are left alone.
            sqlx::query(
                "SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off'",
            )
            .execute(&mut connection)
            .await?;
            Ok(Writer {
                connection,
                used: Instant::now(),
            })
        };
        timeout(WRITE, connecting)
            .await
            .unwrap_or_else(|_| Err(timed_out().into()))
    }

    /// The writer's connection, known to work a moment ago, so that a restarted server does not make the first
    /// append after it fail.
    async fn writer(&self, slot: &mut Option<Writer>) -> Result<Writer, LogError> {
        if let Some(mut writer) = slot.take() {
            let trusted = writer.used.elapsed() < TRUSTED_IDLE
                || matches!(timeout(WRITE, writer.connection.ping()).await, Ok(Ok(())));
            if trusted {
                return Ok(writer);
            }
        }
        self.connect().await
    }

    /// The columns of this batch, if they were encoded ahead. Those of another one are dropped: it was given up.
    fn take_prepared(&self, batch: &Arc<Batch>) -> Option<PgArguments> {
        let mut slot = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
            .filter(|(of, _)| Arc::ptr_eq(of, batch))
            .map(|(_, encoded)| encoded)
    }

    /// Bumps the epoch for `leader`; where `held`, only if that leader holds it now.
    async fn bump(&self, leader: Ulid, held: bool) -> Result<LogHead, LogError> {
        let mut slot = self.writer.lock().await;
        let mut writer = self.writer(&mut slot).await?;
        let update = sqlx::query_as::<_, HeadRow>(
            "UPDATE log_head SET epoch = epoch + 1, leader = $1 WHERE NOT $2 OR leader = $1
             RETURNING epoch, leader, size, root, frontier",
        )
        .bind(leader.to_bytes())
        .bind(held)
        .fetch_optional(&mut writer.connection);
        let row = timeout(WRITE, update)
            .await
            .unwrap_or_else(|_| Err(timed_out()))?;
        *slot = Some(Writer {
            used: Instant::now(),
            ..writer
        });
        row.map_or(Err(LogError::Fenced), head_from_row)
    }
}

#[async_trait]
impl Log for PostgresLog {
    async fn head(&self) -> Result<LogHead, LogError> {
        let query = sqlx::query_as::<_, HeadRow>(
            "SELECT epoch, leader, size, root, frontier FROM log_head",
        );
        head_from_row(in_time(query.fetch_one(&self.readers)).await?)
    }

    async fn claim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.bump(leader, false).await
    }

    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.bump(leader, true).await
    }

    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError> {
        let encoded = match self.take_prepared(&batch) {
            Some(encoded) => encoded,
            None => columns::encode(&batch)?,
        };
        let mut slot = self.writer.lock().await;
        let mut writer = self.writer(&mut slot).await?;
        let statement = sqlx::query_scalar_with::<_, i64, _>(columns::APPEND, encoded);
        let heads = timeout(WRITE, statement.fetch_one(&mut writer.connection))
            .await
            .unwrap_or_else(|_| Err(timed_out()))
            .map_err(append_error)?;
        *slot = Some(Writer {
            used: Instant::now(),
            ..writer
        });
        if heads == 1 {
            Ok(())
        } else {
            Err(LogError::Fenced)
        }
    }

    fn prepare(&self, batch: &Arc<Batch>) {
        // What can't be encoded is told when it is appended.
        let encoded = columns::encode(batch).ok();
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) =
            encoded.map(|encoded| (Arc::clone(batch), encoded));
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        let query = sqlx::query_as("SELECT position, entry, leaf FROM events WHERE position >= $1 ORDER BY position LIMIT $2")
            .bind(signed(from)?)
            .bind(signed(limit as u64)?);
        let rows = in_time(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(entry_from_row).collect()
    }

    async fn find_commands(&self, ids: &[Hash]) -> Result<Vec<CommandRow>, LogError> {
        let query = sqlx::query_as(
            "SELECT id, payload, position, events::bigint FROM commands WHERE id = ANY($1)",
        )
        .bind(ids.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>());
        let rows = in_time(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(command_from_row).collect()
    }

    async fn snapshot(&self, size_max: u64) -> Result<Option<StoredSnapshot>, LogError> {
        let query = sqlx::query_as(snapshots::NEWEST).bind(signed(size_max)?);
        let row = within(SNAPSHOT, query.fetch_optional(&self.readers)).await?;
        row.map(snapshots::from_row).transpose()
    }

    async fn keep_snapshot(&self, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        let size = signed(snapshot.size)?;
        within(SNAPSHOT, async {
            let mut tx = self.readers.begin().await?;
            sqlx::query(snapshots::KEEP)
                .bind(size)
                .bind(snapshot.version.as_ref())
                .bind(snapshot.root.as_ref())
                .bind(&snapshot.state)
                .bind(snapshot.checksum.as_ref())
                .bind(snapshot.time.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query(snapshots::DROP)
                .bind(size)
                .bind(i64::from(SNAPSHOTS_KEPT))
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        })
        .await
    }
}

/// What a failed append statement means. A statement that the server refused took no effect; when the server is
/// going away (SQLSTATE class 57P or 08) or the connection breaks, it may have committed before.
fn append_error(error: sqlx::Error) -> LogError {
    let refused = error
        .as_database_error()
        .and_then(|e| e.code())
        .is_some_and(|code| !code.starts_with("57P") && !code.starts_with("08"));
    if refused {
        LogError::from(error)
    } else {
        LogError::Unknown(Arc::new(error))
    }
}

/// A read's outcome, or that it took too long.
async fn in_time<T>(reading: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, LogError> {
    within(READ, reading).await
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogError> {
    let outcome = timeout(patience, work).await;
    Ok(outcome.unwrap_or_else(|_| Err(timed_out()))?)
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the database did not answer in time",
    ))
}
