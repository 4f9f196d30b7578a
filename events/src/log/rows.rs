//! The log's tables as they are, for audits: read-only, with every column, and nothing brought up to date.

use std::{path::Path, str::FromStr as _};

use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use ulid::Ulid;

use super::{HeadRow, LogError, LogHead, corrupt, head_from_row, stored_hash, unsigned};
use crate::{entry::Entry, envelope::Timestamp, merkle::Hash, tlog::CheckpointRow};

/// Connections: an audit reads one page after the other.
const CONNECTIONS: u32 = 2;

const HEAD: &str = "SELECT epoch, leader, size, root, frontier FROM log_head";
/// One with a name of its own: names that are missing must show, so the joins are outer ones.
const ROWS: &str = "
    SELECT e.position, s.name, e.revision, e.id, t.name, CAST(e.schema AS BIGINT), e.time, e.entry, e.leaf
    FROM events e LEFT JOIN streams s ON s.id = e.stream LEFT JOIN event_types t ON t.id = e.type
    WHERE e.position >= $1 ORDER BY e.position LIMIT $2";

const CHECKPOINTS: &str = "SELECT size, root, note, time FROM checkpoints ORDER BY size";

/// A row as both databases return it.
type RawRow = (
    i64,
    Option<String>,
    i64,
    Vec<u8>,
    Option<String>,
    i64,
    i64,
    Vec<u8>,
    Vec<u8>,
);

/// One row of `events` with the names that its ids stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub position: u64,
    pub stream: String,
    pub revision: u64,
    pub id: Ulid,
    pub label: String,
    pub schema: u16,
    pub time: Timestamp,
    pub entry: Entry,
    pub leaf: Hash,
}

/// Rows in order of position.
#[derive(Debug, Clone, Default)]
pub struct RowPage {
    pub rows: Vec<Row>,
    /// Why the row after them can't be read.
    pub broken: Option<LogError>,
}

/// Reads a log's tables without being able to change them.
#[derive(Debug, Clone)]
pub struct LogRows(Pool);

#[derive(Debug, Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl LogRows {
    /// Opens `postgres://...`, or the path of a SQLite file, which must exist.
    ///
    /// # Errors
    /// When there is no such database.
    pub async fn open(place: &str) -> Result<Self, LogError> {
        if place.starts_with("postgres://") || place.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(place)?
                .application_name("aevir-audit")
                .options([("default_transaction_read_only", "on")]);
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            return Ok(Self(Pool::Postgres(pool.connect_with(options).await?)));
        }
        let options = SqliteConnectOptions::new()
            .filename(Path::new(place))
            .read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
        Ok(Self(Pool::Sqlite(pool.connect_with(options).await?)))
    }

    /// The head row.
    pub async fn head(&self) -> Result<LogHead, LogError> {
        let row: Option<HeadRow> = match &self.0 {
            Pool::Sqlite(pool) => sqlx::query_as(HEAD).fetch_optional(pool).await?,
            Pool::Postgres(pool) => sqlx::query_as(HEAD).fetch_optional(pool).await?,
        };
        row.map_or_else(
            || Err(corrupt(0, "there is no row in log_head")),
            head_from_row,
        )
    }

    /// At most `limit` rows from position `from` on, in order of position, up to the first that can't be read. Gaps
    /// are not hidden.
    pub async fn rows(&self, from: u64, limit: u32) -> Result<RowPage, LogError> {
        let (first, most) = (super::signed(from)?, i64::from(limit));
        let rows: Vec<RawRow> = match &self.0 {
            Pool::Sqlite(pool) => {
                let query = sqlx::query_as(ROWS).bind(first).bind(most);
                query.fetch_all(pool).await?
            }
            Pool::Postgres(pool) => {
                let query = sqlx::query_as(ROWS).bind(first).bind(most);
                query.fetch_all(pool).await?
            }
        };
        let mut page = RowPage::default();
        for row in rows {
            match read(row) {
                Ok(row) => page.rows.push(row),
                Err(error) => {
                    page.broken = Some(error);
                    break;
                }
            }
        }
        Ok(page)
    }

    /// The signed checkpoints that are recorded beside the log, the smallest first.
    pub async fn checkpoints(&self) -> Result<Vec<CheckpointRow>, LogError> {
        let rows: Vec<(i64, Vec<u8>, String, i64)> = match &self.0 {
            Pool::Sqlite(pool) => sqlx::query_as(CHECKPOINTS).fetch_all(pool).await?,
            Pool::Postgres(pool) => sqlx::query_as(CHECKPOINTS).fetch_all(pool).await?,
        };
        let read = |(size, root, note, time): (i64, Vec<u8>, String, i64)| {
            let size = unsigned(0, "checkpoints.size", size)?;
            Ok(CheckpointRow {
                size,
                root: stored_hash(size, "checkpoints.root", &root)?,
                note,
                time: Timestamp(time),
            })
        };
        rows.into_iter().map(read).collect()
    }
}

fn read(
    (position, stream, revision, id, label, schema, time, entry, leaf): RawRow,
) -> Result<Row, LogError> {
    let position = unsigned(0, "events.position", position)?;
    let unnamed = |column: &str| corrupt(position, format!("column `{column}` names nothing"));
    let id = <[u8; 16]>::try_from(id).map_err(|_| corrupt(position, "column `id` is no ULID"))?;
    let schema = u16::try_from(schema)
        .map_err(|_| corrupt(position, format!("column `schema` is {schema}")))?;
    Ok(Row {
        position,
        stream: stream.ok_or_else(|| unnamed("events.stream"))?,
        revision: unsigned(position, "events.revision", revision)?,
        id: Ulid::from_bytes(id),
        label: label.ok_or_else(|| unnamed("events.type"))?,
        schema,
        time: Timestamp(time),
        entry: Entry(entry),
        leaf: stored_hash(position, "events.leaf", &leaf)?,
    })
}
