//! Where views are kept, and how statements reach it: SQLite in a file of its own, or a schema of its own in
//! PostgreSQL. One text of SQL serves both, with parameters `$1`, `$2`, ... Knows no projection.

use std::{fs::File, path::Path, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, PgConnection, PgPool, Postgres, Row as _, Sqlite,
    SqlitePool, Transaction, TypeInfo as _, ValueRef as _,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use super::table::{Dialect, Kind, Table, Value};

/// Connections for queries. Each is a thread on SQLite and a server process on PostgreSQL.
const READERS: u32 = 4;
/// Connections that fold on PostgreSQL: one for each of a handful of projections, so that they don't wait for each other.
const WRITERS: u32 = 4;
/// How long a query waits for a connection, and SQLite for another process that writes.
const ACQUIRE: Duration = Duration::from_secs(10);
/// The schema in PostgreSQL.
pub const SCHEMA: &str = "aevir_views";
/// How long the server runs a statement, and waits for a lock, before it gives it up: an operator's long query on an
/// old table must not hold a swap up for ever.
const STATEMENT_TIMEOUT: &str = "30s";
const LOCK_TIMEOUT: &str = "5s";
const MIGRATIONS_TABLE: &str = "projection_migrations";

/// A database for views. Its loss loses nothing: views are folded anew from the log.
#[derive(Debug, Clone)]
pub struct ViewStore {
    pools: Pools,
}

#[derive(Debug, Clone)]
enum Pools {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres {
        writers: PgPool,
        readers: PgPool,
    },
}

/// Why views can't be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the views' database is unavailable")]
    Unavailable(#[source] Arc<sqlx::Error>),
    #[error("the views' tables can't be brought up to date")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// Keeps others from opening the same file until it is dropped: on SQLite neither the change to WAL nor migrations wait
/// for one another.
async fn opening(file: &Path) -> Result<File, sqlx::Error> {
    let path = file.with_added_extension("lock");
    let locking = tokio::task::spawn_blocking(move || {
        let lock = File::create(path)?;
        lock.lock()?;
        Ok(lock)
    });
    let locked: std::io::Result<File> = locking.await.unwrap_or_else(|e| Err(e.into()));
    Ok(locked?)
}

impl ViewStore {
    /// Opens an SQLite file, which is not the log's: the log's writer must never wait for a view.
    ///
    /// Commits are not synced one by one (`synchronous=NORMAL`): a loss of power may take the newest ones back, rows and
    /// position together, and they are folded again.
    pub async fn sqlite(file: impl AsRef<Path>) -> Result<Self, StoreError> {
        let _opening = opening(file.as_ref()).await?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(ACQUIRE);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .connect_with(options.clone())
            .await?;
        migrator().run(&writer).await.map_err(migration)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options);
        let pools = Pools::Sqlite { writer, readers };
        Ok(Self { pools })
    }

    /// Connects to a URL such as `postgres://user@host/database`; the views get the schema [`SCHEMA`] in it.
    pub async fn postgres(url: &str) -> Result<Self, StoreError> {
        Self::postgres_with(PgConnectOptions::from_str(url)?).await
    }

    /// Connects with ready-made options; the views get the schema [`SCHEMA`].
    pub async fn postgres_with(options: PgConnectOptions) -> Result<Self, StoreError> {
        let options = options.application_name("aevir-views").options([
            ("search_path", SCHEMA),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("lock_timeout", LOCK_TIMEOUT),
        ]);
        create_schema(&options).await?;
        let pool = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE)
                .connect_lazy_with(options.clone())
        };
        let (writers, readers) = (pool(WRITERS), pool(READERS));
        migrator().run(&writers).await.map_err(migration)?;
        let pools = Pools::Postgres { writers, readers };
        Ok(Self { pools })
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// A transaction that writes. On SQLite it has the write lock from the start.
    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        Ok(match &self.pools {
            Pools::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres { writers, .. } => Tx::Postgres(writers.begin().await?),
        })
    }

    /// A transaction that reads one state of the database.
    pub(super) async fn read(&self) -> Result<Tx, sqlx::Error> {
        Ok(match &self.pools {
            Pools::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Pools::Postgres { readers, .. } => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Tx::Postgres(readers.begin_with(begin).await?)
            }
        })
    }
}

fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("migrations/views");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

fn migration(error: sqlx::migrate::MigrateError) -> StoreError {
    StoreError::Migration(Arc::new(error))
}

async fn create_schema(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // Two servers that start at once: `IF NOT EXISTS` alone lets both try.
    sqlx::query("SELECT pg_advisory_lock(hashtext('aevir_views'))")
        .execute(&mut connection)
        .await?;
    let created = sqlx::query("CREATE SCHEMA IF NOT EXISTS aevir_views")
        .execute(&mut connection)
        .await;
    connection.close().await?;
    created.map(|_| ()).map_err(StoreError::from)
}

/// Whether a statement failed because others held a lock for too long (SQLSTATE `lock_not_available`).
pub(super) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "55P03")
}

/// A transaction on either database; rolled back when dropped.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

macro_rules! bind {
    ($query:expr, $params:expr) => {
        $params.iter().fold($query, |query, value| match value {
            Value::Null => query.bind(None::<String>),
            Value::Int(n) => query.bind(*n),
            Value::Text(text) => query.bind(text.as_str()),
        })
    };
}

impl Tx {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Lets this transaction wait for no lock longer than that. On SQLite it has its lock already.
    pub(super) async fn wait_at_most(&mut self, timeout: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => {
                let sql = "SELECT set_config('lock_timeout', $1, true)";
                self.fetch(sql, &[timeout.into()]).await.map(drop)
            }
        }
    }

    /// Runs a statement; answers how many rows it changed. The text must hold no data.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(tx) => bind!(sqlx::query(sql), params)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
            Self::Postgres(tx) => bind!(sqlx::query(sql), params)
                .execute(&mut **tx)
                .await?
                .rows_affected(),
        })
    }

    /// Runs a query. The text must hold no data.
    pub(super) async fn fetch(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(tx) => {
                let rows = bind!(sqlx::query(sql), params).fetch_all(&mut **tx).await?;
                rows.iter().map(from_sqlite).collect()
            }
            Self::Postgres(tx) => {
                let rows = bind!(sqlx::query(sql), params).fetch_all(&mut **tx).await?;
                rows.iter().map(from_postgres).collect()
            }
        }
    }

    /// Writes rows of one table's generation in one statement.
    pub(super) async fn write(
        &mut self,
        table: &Table,
        generation: u64,
        upsert: bool,
        rows: &[&[Value]],
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns = table.columns.len();
        match self {
            Self::Sqlite(_) => {
                let sql = table.write(Dialect::Sqlite, generation, upsert);
                self.execute(&sql, &[json(rows, columns)]).await?;
            }
            Self::Postgres(tx) => {
                let sql = table.write(Dialect::Postgres, generation, upsert);
                let query = sqlx::query(AssertSqlSafe(sql));
                let query = bind_columns(query, table, columns, rows);
                query.execute(&mut **tx).await?;
            }
        }
        Ok(())
    }

    /// Reads the rows of these keys that are there.
    pub(super) async fn load(
        &mut self,
        table: &Table,
        generation: u64,
        keys: &[&[Value]],
    ) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(_) => {
                let sql = table.load(Dialect::Sqlite, generation);
                self.fetch(&sql, &[json(keys, table.key)]).await
            }
            Self::Postgres(tx) => {
                let query = sqlx::query(AssertSqlSafe(table.load(Dialect::Postgres, generation)));
                let query = bind_columns(query, table, table.key, keys);
                let rows = query.fetch_all(&mut **tx).await?;
                rows.iter().map(from_postgres).collect()
            }
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}

/// Rows as one JSON text.
fn json(rows: &[&[Value]], columns: usize) -> Value {
    let rows = rows
        .iter()
        .map(|row| serde_json::Value::Array(row[..columns].iter().map(Value::to_json).collect()));
    // Not through `From<String>`: JSON has no raw NUL.
    Value::Text(serde_json::Value::Array(rows.collect()).to_string())
}

type PgQuery = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

/// Binds the first `columns` columns as one array each.
fn bind_columns(query: PgQuery, table: &Table, columns: usize, rows: &[&[Value]]) -> PgQuery {
    table.columns[..columns]
        .iter()
        .enumerate()
        .fold(query, |query, (i, column)| {
            let values = rows.iter().map(|row| &row[i]);
            match column.kind {
                Kind::Int => {
                    let values = values.map(|v| {
                        if let Value::Int(n) = v {
                            Some(*n)
                        } else {
                            None
                        }
                    });
                    query.bind(values.collect::<Vec<Option<i64>>>())
                }
                Kind::Text => {
                    let values = values.map(|v| {
                        if let Value::Text(t) = v {
                            Some(t.clone())
                        } else {
                            None
                        }
                    });
                    query.bind(values.collect::<Vec<Option<String>>>())
                }
            }
        })
}

fn from_sqlite(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let values = (0..row.columns().len()).map(|i| {
        let raw = row.try_get_raw(i)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        // The value's own type: an expression's column has none.
        match raw.type_info().name() {
            "INTEGER" | "BOOLEAN" => row.try_get::<i64, _>(i).map(Value::Int),
            _ => row.try_get::<String, _>(i).map(Value::Text),
        }
    });
    values.collect()
}

fn from_postgres(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    let values = row.columns().iter().enumerate().map(|(i, column)| {
        Ok(match column.type_info().name() {
            "INT8" => row.try_get::<Option<i64>, _>(i)?.into(),
            "INT4" => row.try_get::<Option<i32>, _>(i)?.map(i64::from).into(),
            _ => row.try_get::<Option<String>, _>(i)?.into(),
        })
    });
    values.collect()
}
