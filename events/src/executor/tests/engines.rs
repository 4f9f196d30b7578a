//! SQLite and PostgreSQL hold the same, byte for byte: entries, roots, and every other column.

use std::sync::Arc;

use super::{all_entries, start_with};
use crate::{
    Log, PostgresLog, SqliteLog,
    toy::{Order, Store, deposit, keyed, reproducible, request, transfer},
};

/// Position, stream, revision, id, type, schema, time, entry, leaf.
type EventRow = (i64, i64, i64, Vec<u8>, i64, i64, i64, Vec<u8>, Vec<u8>);

/// All tables, but for the head's leader, whose name is drawn.
#[derive(Debug, PartialEq, Eq)]
struct Tables {
    /// Epoch, size, root, frontier.
    head: (i64, i64, Vec<u8>, Vec<u8>),
    streams: Vec<(i64, String)>,
    types: Vec<(i64, String)>,
    events: Vec<EventRow>,
    /// Id, payload, position, events.
    commands: Vec<(Vec<u8>, Vec<u8>, i64, i64)>,
}

/// Reads a table from either kind of pool.
macro_rules! tables {
    ($log:expr) => {{
        let log = $log;
        let pool = log.pool();
        let head = "SELECT epoch, size, root, frontier FROM log_head";
        let streams = "SELECT id, name FROM streams ORDER BY id";
        let types = "SELECT id, name FROM event_types ORDER BY id";
        let events =
            "SELECT position, stream, revision, id, type, CAST(schema AS BIGINT), time, entry, leaf
                      FROM events ORDER BY position";
        let commands =
            "SELECT id, payload, position, CAST(events AS BIGINT) FROM commands ORDER BY id";
        Tables {
            head: sqlx::query_as(head).fetch_one(pool).await.unwrap(),
            streams: sqlx::query_as(streams).fetch_all(pool).await.unwrap(),
            types: sqlx::query_as(types).fetch_all(pool).await.unwrap(),
            events: sqlx::query_as(events).fetch_all(pool).await.unwrap(),
            commands: sqlx::query_as(commands).fetch_all(pool).await.unwrap(),
        }
    }};
}

async fn tables(store: &Store) -> Tables {
    let name = store.name();
    if name.starts_with("postgres:") {
        tables!(PostgresLog::open(&name).await.unwrap())
    } else {
        tables!(SqliteLog::open(&name).await.unwrap())
    }
}

/// Some of everything, in bursts, with a restart in between.
async fn script(store: &Store) {
    let mut n = 0;
    let options = reproducible();
    for _ in 0..2 {
        let log: Arc<dyn Log> = store.open().await;
        let bank = start_with(log, options.clone()).await.unwrap();
        for burst in [1, 40, 7, 80, 3] {
            let requests = (0..burst).map(|_| {
                n += 1;
                let (one, other) = (format!("{}", n % 7), format!("ä{}", n % 5));
                let order = match n % 9 {
                    0..=2 => deposit(&one, 3),
                    3 | 4 => transfer(&one, &other, n % 4),
                    5 => Order::DrawTicket,
                    6 => Order::Nothing,
                    7 => Order::Note {
                        bytes: n as usize * 10,
                    },
                    _ => Order::Many {
                        to: other,
                        count: 40,
                    },
                };
                // Some keys come again: with the same command, and with another one.
                match n % 3 {
                    0 => request(order),
                    _ => keyed(&(n % 60).to_string(), order),
                }
            });
            let requests: Vec<_> = requests.collect();
            let answers = requests.into_iter().map(|request| bank.submit(request));
            futures::future::join_all(answers).await;
        }
        bank.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_hold_the_same_bytes() {
    let stores = [Store::sqlite(), Store::postgres().await];
    for store in &stores {
        script(store).await;
    }
    let [sqlite, postgres] = [tables(&stores[0]).await, tables(&stores[1]).await];
    assert!(sqlite.events.len() > 300 && sqlite.commands.len() > 30 && sqlite.streams.len() > 12);
    assert_eq!(sqlite.head, postgres.head);
    assert_eq!(sqlite.streams, postgres.streams);
    assert_eq!(sqlite.types, postgres.types);
    assert_eq!(sqlite.commands, postgres.commands);
    assert!(
        sqlite.events == postgres.events,
        "the rows of events differ"
    );
    let entries = [
        all_entries(stores[0].open().await.as_ref()).await,
        all_entries(stores[1].open().await.as_ref()).await,
    ];
    assert!(
        entries[0] == entries[1] && !entries[0].is_empty(),
        "as read by the log"
    );
}
