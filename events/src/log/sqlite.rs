//! The log in one SQLite file: the embedded default.

mod checkpoints;

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};
use tokio::sync::Mutex;
use ulid::Ulid;

use super::{
    Batch, CommandRow, HeadRow, Log, LogError, LogHead, MIGRATIONS_TABLE, NewEvent, SNAPSHOTS_KEPT,
    StoredEntry, command_from_row, entry_from_row, head_from_row, signed, snapshots,
};
use crate::{merkle::Hash, snapshot::StoredSnapshot};

/// Connections for reading. WAL readers do not disturb the writer; each is a thread and a page cache.
const READERS: u32 = 4;
/// How long to wait for another process that holds the write lock.
const BUSY: Duration = Duration::from_secs(10);
/// Host parameters in one look-up statement; SQLite allows 32,766.
const KEYS_PER_QUERY: usize = 512;

/// Moves the head, if it is still where the batch starts.
const COMPARE_AND_SET: &str = "
    UPDATE log_head SET size = ?1, root = ?2, frontier = ?3 WHERE epoch = ?4 AND size = ?5";

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
        let updated = sqlx::query(COMPARE_AND_SET)
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
        insert_batch(&mut tx, &batch).await?;
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

/// Rows of one insert statement; three prepared shapes for any number of rows. sqlx hands every statement over to
/// the connection's thread, which costs more than the insert itself: 32 rows at once are 2-5 times as fast as 32
/// single ones, and more than 32 gain nothing.
const ROWS: [usize; 3] = [32, 8, 1];

/// A table's insert statement in the three shapes.
type Insert = LazyLock<[String; ROWS.len()]>;

static STREAMS: Insert = Insert::new(|| shapes("INSERT INTO streams (id, name)", 2));
static TYPES: Insert = Insert::new(|| shapes("INSERT INTO event_types (id, name)", 2));
static COMMANDS: Insert =
    Insert::new(|| shapes("INSERT INTO commands (id, payload, position, events)", 4));
static EVENTS: Insert = Insert::new(|| {
    let columns = "position, stream, revision, id, type, schema, time, entry, leaf";
    shapes(&format!("INSERT INTO events ({columns})"), 9)
});

fn shapes(insert: &str, columns: usize) -> [String; ROWS.len()] {
    let row = format!("({})", vec!["?"; columns].join(", "));
    ROWS.map(|rows| format!("{insert} VALUES {}", vec![row.as_str(); rows].join(", ")))
}

type Statement = Query<'static, Sqlite, SqliteArguments>;

async fn insert_batch(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), LogError> {
    let events = &batch.events;
    let streams: Vec<_> = events
        .iter()
        .filter_map(|e| Some((e.stream_id, e.new_stream()?)))
        .collect();
    let types: Vec<_> = events
        .iter()
        .filter_map(|e| Some((e.type_id, e.new_type()?)))
        .collect();
    insert(connection, &STREAMS, &streams, bind_name).await?;
    insert(connection, &TYPES, &types, bind_name).await?;
    insert(connection, &COMMANDS, &batch.commands, bind_command).await?;
    insert(connection, &EVENTS, events, bind_event).await
}

async fn insert<T>(
    connection: &mut SqliteConnection,
    statements: &'static Insert,
    mut rows: &[T],
    bind: fn(Statement, &T) -> Result<Statement, LogError>,
) -> Result<(), LogError> {
    for (size, sql) in ROWS.iter().zip(statements.iter()) {
        while let Some((now, later)) = rows.split_at_checked(*size) {
            let statement = now.iter().try_fold(sqlx::query(sql.as_str()), bind)?;
            statement.execute(&mut *connection).await?;
            rows = later;
        }
    }
    Ok(())
}

fn bind_name(insert: Statement, (id, name): &(u64, &str)) -> Result<Statement, LogError> {
    Ok(insert.bind(signed(*id)?).bind(*name))
}

fn bind_command(insert: Statement, command: &CommandRow) -> Result<Statement, LogError> {
    Ok(insert
        .bind(command.id.as_ref())
        .bind(command.payload.as_ref())
        .bind(signed(command.position)?)
        .bind(i64::from(command.events)))
}

fn bind_event(insert: Statement, event: &NewEvent) -> Result<Statement, LogError> {
    Ok(insert
        .bind(signed(event.position)?)
        .bind(signed(event.stream_id)?)
        .bind(signed(event.revision)?)
        .bind(event.id.to_bytes().to_vec())
        .bind(signed(event.type_id)?)
        .bind(i64::from(event.schema))
        .bind(event.time.0)
        .bind(event.entry.as_ref())
        .bind(event.leaf.as_ref()))
}
