//! More commands waiting than a batch takes: the executor beside the barest loop that fills the same tables.
//!
//! The bare loops get rows that are ready: no JSON, no hashing, no head to compare, no answers to give.

use std::{path::Path, sync::Arc, time::Instant};

use aevir_events::{
    BATCH_COMMANDS, Executor, Handle, Log, Options, PostgresLog, SqliteLog,
    testing::{Durability, PrivatePostgres},
};
use anyhow::{Context, Result};
use sqlx::{Connection as _, PgConnection};

use super::{
    Bench,
    notes::{Notes, Writer},
    sqlite::{Database, Value},
};
use crate::{
    callers::{Span, drive},
    figure::{Figure, Target, median},
};

/// Callers that keep full batches waiting: one is in flight, one is decided, one waits. Below the queue's bound.
const CALLERS: usize = 3 * BATCH_COMMANDS;
/// Least of the bare loop's rate.
const LEAST: f64 = 0.8;
/// Streams that the bare loops write to in turn.
const STREAMS: i64 = CALLERS as i64;

/// Rates of the rounds, ours and the bare loop's.
#[derive(Debug, Default)]
struct Rates {
    ours: Vec<f64>,
    bare: Vec<f64>,
}

impl Rates {
    fn figure(self, metric: &str, peer: &str) -> Figure {
        Figure::alone(metric, median(self.ours), "events/s")
            .beside(peer, median(self.bare))
            .target(Target::RatioAtLeast(LEAST))
    }
}

/// Measures PostgreSQL.
pub(crate) async fn postgres(bench: &mut Bench) -> Result<()> {
    let ours = PrivatePostgres::start_with(Durability::Disk).await;
    let bare = PrivatePostgres::start_with(Durability::Disk).await;
    let log = Arc::new(PostgresLog::open_with(ours.options()).await?);
    let handle = start(Arc::clone(&log) as Arc<dyn Log>).await?;
    // Makes the tables.
    PostgresLog::open_with(bare.options()).await?;
    let mut connection = PgConnection::connect_with(&bare.options()).await?;
    let (mut rates, mut row) = (Rates::default(), None);
    for round in 0..bench.rounds {
        bench.say(&format!(
            "saturated PostgreSQL, round {} of {}",
            round + 1,
            bench.rounds
        ));
        sqlx::query("CHECKPOINT").execute(&mut connection).await?;
        rates.ours.push(
            drive(Writer::many(&handle, CALLERS), bench.span)
                .await?
                .per_s,
        );
        let mut rows = row.take().unwrap_or(Rows::like(log.as_ref()).await?);
        sqlx::query("CHECKPOINT").execute(&mut connection).await?;
        rates
            .bare
            .push(unnest_loop(&mut connection, &mut rows, bench.span).await?);
        row = Some(rows);
    }
    handle.shutdown().await;
    bench.add(rates.figure(
        "append.postgres.saturated",
        "bare INSERT ... SELECT FROM unnest",
    ));
    Ok(())
}

/// Measures SQLite.
pub(crate) async fn sqlite(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (ours, bare) = (folder.path().join("ours.db"), folder.path().join("bare.db"));
    let log = Arc::new(SqliteLog::open(&ours).await?);
    let handle = start(Arc::clone(&log) as Arc<dyn Log>).await?;
    // Makes the tables.
    SqliteLog::open(&bare).await?;
    let (mut rates, mut row) = (Rates::default(), None);
    for round in 0..bench.rounds {
        bench.say(&format!(
            "saturated SQLite, round {} of {}",
            round + 1,
            bench.rounds
        ));
        rates.ours.push(
            drive(Writer::many(&handle, CALLERS), bench.span)
                .await?
                .per_s,
        );
        let mut rows = row.take().unwrap_or(Rows::like(log.as_ref()).await?);
        let (file, span) = (bare.clone(), bench.span);
        let (rate, rows) = tokio::task::spawn_blocking(move || {
            prepared_loop(&file, &mut rows, span).map(|rate| (rate, rows))
        })
        .await??;
        rates.bare.push(rate);
        row = Some(rows);
    }
    handle.shutdown().await;
    bench.add(rates.figure("append.sqlite.saturated", "bare prepared INSERT"));
    Ok(())
}

async fn start(log: Arc<dyn Log>) -> Result<Handle<Notes>> {
    Ok(Executor::start(log, Options::default()).await?)
}

/// Rows for a bare loop, of the same size as the executor's.
struct Rows {
    next: i64,
    id: [u8; 16],
    entry: Vec<u8>,
    leaf: [u8; 32],
}

impl Rows {
    /// From position 0 on, with an entry that the executor wrote.
    async fn like(log: &dyn Log) -> Result<Self> {
        let stored = log.read(1, 1).await?;
        let stored = stored.first().context("the executor wrote something")?;
        Ok(Self {
            next: 0,
            id: rand::random(),
            entry: stored.entry.as_ref().to_vec(),
            leaf: stored.leaf.0,
        })
    }

    /// Positions of the next batch.
    fn batch(&mut self) -> std::ops::Range<i64> {
        let from = self.next;
        self.next += BATCH_COMMANDS as i64;
        from..self.next
    }
}

/// Commits batches one after the other; answers rows per second.
async fn unnest_loop(connection: &mut PgConnection, rows: &mut Rows, span: Span) -> Result<f64> {
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.measure;
    let mut counted = 0;
    loop {
        let positions: Vec<i64> = rows.batch().collect();
        let column = |of: fn(i64) -> i64| positions.iter().map(|n| of(*n)).collect::<Vec<i64>>();
        sqlx::query(
            "INSERT INTO events (position, stream, revision, id, type, schema, time, entry, leaf)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::integer[],
                                  $7::bigint[], $8::bytea[], $9::bytea[])",
        )
        .bind(&positions)
        .bind(column(|n| n % STREAMS))
        .bind(column(|n| n / STREAMS))
        .bind(vec![rows.id.as_slice(); positions.len()])
        .bind(column(|_| 0))
        .bind(vec![1i32; positions.len()])
        .bind(column(|n| 1_700_000_000_000 + n))
        .bind(vec![rows.entry.as_slice(); positions.len()])
        .bind(vec![rows.leaf.as_slice(); positions.len()])
        .execute(&mut *connection)
        .await?;
        let now = Instant::now();
        if now >= end {
            return Ok(f64::from(counted) / span.measure.as_secs_f64());
        }
        counted += if now >= begin {
            positions.len() as u32
        } else {
            0
        };
    }
}

/// Commits transactions one after the other, with the log's own pragmas; answers rows per second.
fn prepared_loop(file: &Path, rows: &mut Rows, span: Span) -> Result<f64> {
    let database = Database::open(file)?;
    database.execute(c"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    let mut insert = database.prepare(
        c"INSERT INTO events (position, stream, revision, id, type, schema, time, entry, leaf)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.measure;
    let mut counted = 0;
    loop {
        let positions = rows.batch();
        database.execute(c"BEGIN IMMEDIATE")?;
        for n in positions.clone() {
            insert.run(&[
                Value::Integer(n),
                Value::Integer(n % STREAMS),
                Value::Integer(n / STREAMS),
                Value::Blob(&rows.id),
                Value::Integer(0),
                Value::Integer(1),
                Value::Integer(1_700_000_000_000 + n),
                Value::Blob(&rows.entry),
                Value::Blob(&rows.leaf),
            ])?;
        }
        database.execute(c"COMMIT")?;
        let now = Instant::now();
        if now >= end {
            return Ok(f64::from(counted) / span.measure.as_secs_f64());
        }
        counted += if now >= begin {
            positions.count() as u32
        } else {
            0
        };
    }
}
