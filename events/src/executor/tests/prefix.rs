//! Sixty-four writers and readers that restart: everybody sees the exact prefix, without gaps or repeats.
//!
//! The same reader on the usual alternative, a table with a `bigserial` key, is kept as a control: it must miss
//! something, or the test would show nothing.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use sqlx::{PgPool, postgres::PgPoolOptions};

use super::{check_replay, start_with};
use crate::{
    Handle, Log, Options,
    testing::PrivatePostgres,
    toy::{Bank, Happened, Store, deposit, on_both, request},
};

const WRITERS: usize = 64;
/// Rows that each of them writes.
const EACH: usize = 15;
const PAGE: usize = 100;

/// Rows with growing numbers, which many write and many read by cursor.
#[async_trait]
trait Table: Send + Sync + 'static {
    async fn write(&self, what: String);
    /// A page of rows with numbers above `cursor`, in their order.
    async fn after(&self, cursor: i64) -> Vec<(i64, String)>;
}

/// The log, read as a table by a connection of its own.
struct LogTable {
    bank: Handle<Bank>,
    log: Arc<dyn Log>,
}

#[async_trait]
impl Table for LogTable {
    async fn write(&self, what: String) {
        self.bank.submit(request(deposit(&what, 1))).await.unwrap();
    }

    async fn after(&self, cursor: i64) -> Vec<(i64, String)> {
        let from = u64::try_from(cursor + 1).unwrap();
        let page = self.log.read(from, PAGE).await.unwrap();
        let row = |stored: crate::StoredEntry| match stored.entry.decode().unwrap().event {
            Happened::Deposited { to, .. } => (stored.position as i64, to),
            other => panic!("{other:?}"),
        };
        page.into_iter().map(row).collect()
    }
}

/// What people use where they have no log: a sequence hands out numbers before commits put rows into an order.
struct Bigserial(PgPool);

#[async_trait]
impl Table for Bigserial {
    async fn write(&self, what: String) {
        let insert = sqlx::query("INSERT INTO plain (what) VALUES ($1)").bind(what);
        insert.execute(&self.0).await.unwrap();
    }

    async fn after(&self, cursor: i64) -> Vec<(i64, String)> {
        sqlx::query_as("SELECT seq, what FROM plain WHERE seq > $1 ORDER BY seq LIMIT 100")
            .bind(cursor)
            .fetch_all(&self.0)
            .await
            .unwrap()
    }
}

/// Follows a table by its cursor, which is all that it keeps over restarts.
struct Reader<T> {
    table: Arc<T>,
    cursor: i64,
    seen: Vec<(i64, String)>,
}

impl<T: Table> Reader<T> {
    fn new(table: &Arc<T>) -> Self {
        Self {
            table: Arc::clone(table),
            cursor: -1,
            seen: Vec::new(),
        }
    }

    /// Reads a page, and answers whether there was anything.
    async fn step(&mut self) -> bool {
        let page = self.table.after(self.cursor).await;
        let Some((last, _)) = page.last() else {
            return false;
        };
        self.cursor = *last;
        self.seen.extend(page);
        true
    }

    /// Until the writers are done and nothing more comes.
    async fn read_along(mut self, done: Arc<AtomicBool>) -> Self {
        loop {
            let last_round = done.load(Ordering::SeqCst);
            if !self.step().await && last_round {
                return self;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Rows of the table that it has not seen and, since its cursor is past them, never will.
    async fn missed(&self) -> BTreeSet<(i64, String)> {
        let mut whole = Self::new(&self.table);
        while whole.step().await {}
        let seen: BTreeSet<_> = self.seen.iter().cloned().collect();
        assert_eq!(seen.len(), self.seen.len(), "nothing is seen twice");
        let missed = whole
            .seen
            .into_iter()
            .filter(|row| row.0 <= self.cursor && !seen.contains(row));
        missed.collect()
    }
}

/// Lets all writers write, and the readers read along.
async fn under_load<T: Table>(table: &Arc<T>, readers: Vec<Reader<T>>) -> Vec<Reader<T>> {
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(reader.read_along(Arc::clone(&done))))
        .collect();
    let writers = (0..WRITERS).map(|writer| {
        let table = Arc::clone(table);
        tokio::spawn(async move {
            for n in 0..EACH {
                table.write(format!("{writer}/{n}")).await;
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let readers = futures::future::join_all(readers).await;
    readers.into_iter().map(Result::unwrap).collect()
}

/// Subscribes again and again, keeping nothing but the cursor; answers what it saw.
async fn follow(bank: Handle<Bank>, total: usize) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    while seen.len() < total {
        let mut events = bank.subscribe(seen.len() as u64);
        for _ in 0..rand::random_range(1..80) {
            if seen.len() == total {
                break;
            }
            let event = events.next().await.unwrap().unwrap();
            let Happened::Deposited { to, .. } = &event.event else {
                panic!("{event:?}");
            };
            seen.push((event.position as i64, to.clone()));
        }
    }
    seen
}

on_both! {
    async fn readers_that_restart_see_the_exact_prefix(store: Store) {
        let bank = start_with(store.open().await, Options::default()).await.unwrap();
        let log = store.open().await;
        let table = Arc::new(LogTable { bank: bank.clone(), log });
        let followers: Vec<_> = (0..8).map(|_| tokio::spawn(follow(bank.clone(), WRITERS * EACH))).collect();
        let readers = (0..4).map(|_| Reader::new(&table)).collect();
        let readers = under_load(&table, readers).await;
        let seen = &readers[0].seen;
        let positions: Vec<i64> = seen.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, (0..(WRITERS * EACH) as i64).collect::<Vec<_>>());
        for reader in &readers {
            assert_eq!(reader.missed().await, BTreeSet::new());
            assert_eq!(&reader.seen, seen);
        }
        for follower in followers {
            assert_eq!(&follower.await.unwrap(), seen);
        }
        check_replay(&bank, &store).await;
    }
}

/// The control. Number 1 is handed out first and committed last: a reader that has seen 2 never sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_a_bigserial_table_misses_rows() {
    let postgres = PrivatePostgres::start().await;
    let options = PgPoolOptions::new().max_connections(WRITERS as u32 / 2);
    let pool = options.connect_with(postgres.options()).await.unwrap();
    sqlx::query("CREATE TABLE plain (seq BIGSERIAL PRIMARY KEY, what TEXT NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    let table = Arc::new(Bigserial(pool.clone()));
    let mut reader = Reader::new(&table);
    let mut slow = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO plain (what) VALUES ('slow')")
        .execute(&mut *slow)
        .await
        .unwrap();
    table.write("fast".to_owned()).await;
    assert!(reader.step().await);
    assert_eq!(reader.seen, [(2, "fast".to_owned())], "2 before 1");
    slow.commit().await.unwrap();
    let readers = under_load(&table, vec![reader]).await;
    let missed = readers[0].missed().await;
    assert!(
        missed.contains(&(1, "slow".to_owned())),
        "the control must fail: {missed:?}"
    );
}
