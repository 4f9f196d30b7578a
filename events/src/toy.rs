//! A small bank for this crate's tests: enough of a machine to show what the executor must hold.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Connection as _;
use ulid::Ulid;

use crate::{
    Context, Corrupt, Event, Machine, Options, Recorded, Request, Timestamp, UnknownEvent,
    parse_data,
};

/// The machine.
#[derive(Debug)]
pub(crate) struct Bank;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balances {
    /// By account, in cents.
    pub(crate) accounts: BTreeMap<String, u64>,
    /// By drawn id.
    pub(crate) tickets: BTreeMap<Ulid, Timestamp>,
    pub(crate) events: u64,
}

impl Balances {
    pub(crate) fn total(&self) -> u64 {
        self.accounts.values().sum()
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) enum Order {
    Deposit {
        to: String,
        cents: u64,
    },
    /// Refused where the balance is too small. Two events, of two streams.
    Transfer {
        from: String,
        to: String,
        cents: u64,
    },
    /// Uses the context's ids and time.
    DrawTicket,
    /// Is nothing to do.
    Nothing,
    /// A note of so many bytes.
    Note {
        bytes: usize,
    },
    /// So many deposits of one cent.
    Many {
        to: String,
        count: usize,
    },
    /// `decide` panics.
    Panic,
    /// Deposits, and then writes what `evolve` refuses.
    Poison {
        to: String,
        cents: u64,
    },
    /// The event has an integer that canonical JSON would round.
    Unsafe,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    Deposited { to: String, cents: u64 },
    Withdrawn { from: String, cents: u64 },
    TicketDrawn { ticket: Ulid },
    Noted { text: String },
    Poisoned,
    Rounded,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("`{from}` has {balance}")]
    Balance { from: String, balance: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Movement {
    account: String,
    cents: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    ticket: Ulid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

impl Event for Happened {
    fn label(&self) -> &'static str {
        match self {
            Self::Deposited { .. } => "account.credited",
            Self::Withdrawn { .. } => "account.debited",
            Self::TicketDrawn { .. } => "ticket.drawn",
            Self::Noted { .. } => "note.taken",
            Self::Poisoned => "bank.poisoned",
            Self::Rounded => "bank.rounded",
        }
    }

    fn schema(&self) -> u16 {
        1
    }

    fn stream(&self) -> String {
        match self {
            Self::Deposited { to: account, .. } | Self::Withdrawn { from: account, .. } => {
                format!("account/{account}")
            }
            Self::TicketDrawn { ticket } => format!("ticket/{ticket}"),
            Self::Noted { .. } | Self::Poisoned | Self::Rounded => "bank/one".to_owned(),
        }
    }

    fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = match self {
            Self::Deposited { to: account, cents }
            | Self::Withdrawn {
                from: account,
                cents,
            } => {
                json!({"account": account, "cents": cents.to_string()})
            }
            Self::TicketDrawn { ticket } => json!({"ticket": ticket}),
            Self::Noted { text } => json!({"text": text}),
            Self::Poisoned => json!({}),
            Self::Rounded => json!({"n": u64::MAX}),
        };
        data.serialize(serializer)
    }

    fn from_data(label: &str, schema: u16, data: &str) -> Result<Self, UnknownEvent> {
        let movement = |data| {
            let Movement { account, cents } = parse_data(label, data)?;
            let cents = cents
                .parse()
                .map_err(|e| UnknownEvent(format!("cents: {e}")))?;
            Ok((account, cents))
        };
        match (label, schema) {
            ("account.credited", 1) => {
                movement(data).map(|(to, cents)| Self::Deposited { to, cents })
            }
            ("account.debited", 1) => {
                movement(data).map(|(from, cents)| Self::Withdrawn { from, cents })
            }
            ("ticket.drawn", 1) => {
                parse_data(label, data).map(|Ticket { ticket }| Self::TicketDrawn { ticket })
            }
            ("note.taken", 1) => parse_data(label, data).map(|Note { text }| Self::Noted { text }),
            ("bank.poisoned", 1) => Ok(Self::Poisoned),
            ("bank.rounded", 1) => Ok(Self::Rounded),
            _ => Err(UnknownEvent(format!("`{label}` version {schema}"))),
        }
    }
}

impl Machine for Bank {
    type State = Balances;
    type Command = Order;
    type Event = Happened;
    type Rejection = Refused;

    fn decide(
        state: &Balances,
        order: &Order,
        context: &Context,
    ) -> Result<Vec<Happened>, Refused> {
        Ok(match order.clone() {
            Order::Deposit { to, cents } => vec![Happened::Deposited { to, cents }],
            Order::Transfer { from, to, cents } => {
                let balance = state.accounts.get(&from).copied().unwrap_or(0);
                if balance < cents {
                    return Err(Refused::Balance { from, balance });
                }
                vec![
                    Happened::Withdrawn { from, cents },
                    Happened::Deposited { to, cents },
                ]
            }
            Order::DrawTicket => vec![Happened::TicketDrawn {
                ticket: context.ids().ulid(),
            }],
            Order::Nothing => vec![],
            Order::Note { bytes } => vec![Happened::Noted {
                text: "n".repeat(bytes),
            }],
            Order::Many { to, count } => vec![Happened::Deposited { to, cents: 1 }; count],
            Order::Panic => panic!("the order was to panic"),
            Order::Poison { to, cents } => {
                vec![Happened::Deposited { to, cents }, Happened::Poisoned]
            }
            Order::Unsafe => vec![Happened::Rounded],
        })
    }

    fn state_version() -> Option<&'static str> {
        Some("bank/1")
    }

    fn evolve(state: &mut Balances, recorded: &Recorded<Happened>) -> Result<(), Corrupt> {
        match &recorded.event {
            Happened::Deposited { to, cents } => {
                *state.accounts.entry(to.clone()).or_default() += cents
            }
            Happened::Withdrawn { from, cents } => {
                let balance = state.accounts.entry(from.clone()).or_default();
                *balance = balance
                    .checked_sub(*cents)
                    .ok_or_else(|| Corrupt(format!("`{from}` is overdrawn")))?;
            }
            Happened::TicketDrawn { ticket } => {
                if state.tickets.insert(*ticket, recorded.time).is_some() {
                    return Err(Corrupt(format!("ticket {ticket} is drawn twice")));
                }
            }
            Happened::Noted { .. } => {}
            Happened::Poisoned | Happened::Rounded => return Err(Corrupt("poison".to_owned())),
        }
        state.events += 1;
        Ok(())
    }
}

pub(crate) fn deposit(to: &str, cents: u64) -> Order {
    Order::Deposit {
        to: to.to_owned(),
        cents,
    }
}

pub(crate) fn transfer(from: &str, to: &str, cents: u64) -> Order {
    Order::Transfer {
        from: from.to_owned(),
        to: to.to_owned(),
        cents,
    }
}

pub(crate) fn request(command: Order) -> Request<Order> {
    Request {
        actor: "account/test".to_owned(),
        key: None,
        command,
    }
}

pub(crate) fn keyed(key: &str, command: Order) -> Request<Order> {
    Request {
        key: Some(key.to_owned()),
        ..request(command)
    }
}

/// A clock that goes on by 1 ms with every look, and randomness that counts.
pub(crate) fn reproducible() -> Options {
    let (time, random) = (AtomicU64::new(1_700_000_000_000), AtomicU64::new(1));
    Options {
        clock: Arc::new(move || Timestamp(time.fetch_add(1, Ordering::Relaxed) as i64)),
        entropy: Arc::new(move || {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&random.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        }),
        ..Options::default()
    }
}

/// An empty log for one test, and what must outlive it.
pub(crate) struct Store {
    place: Place,
}

enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(crate::testing::PrivatePostgres),
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        Self {
            place: Place::Sqlite(tempfile::tempdir().unwrap()),
        }
    }

    pub(crate) async fn postgres() -> Self {
        Self {
            place: Place::Postgres(crate::testing::PrivatePostgres::start().await),
        }
    }

    /// A new connection to the log, as another process would make one.
    pub(crate) async fn open(&self) -> Arc<dyn crate::Log> {
        match &self.place {
            Place::Sqlite(dir) => Arc::new(
                crate::SqliteLog::open(dir.path().join("log.db"))
                    .await
                    .unwrap(),
            ),
            Place::Postgres(postgres) => {
                Arc::new(crate::PostgresLog::open(&postgres.url()).await.unwrap())
            }
        }
    }

    /// A name by which another process can [`open_named`] the log.
    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::Sqlite(dir) => dir.path().join("log.db").display().to_string(),
            Place::Postgres(postgres) => postgres.url(),
        }
    }

    /// Ends all connections that logs have to the database, from outside. SQLite has none to cut.
    pub(crate) async fn cut_connections(&self) {
        let Place::Postgres(postgres) = &self.place else {
            return;
        };
        let mut admin = sqlx::PgConnection::connect_with(&postgres.options())
            .await
            .unwrap();
        sqlx::query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE application_name = 'aevir-log' AND datname = current_database()",
        )
        .execute(&mut admin)
        .await
        .unwrap();
    }

    /// Runs a statement behind the log's back. Both databases understand `$1`.
    pub(crate) async fn tamper(&self, sql: &'static str, blobs: &[Vec<u8>]) {
        let changed = match &self.place {
            Place::Sqlite(dir) => {
                let log = crate::SqliteLog::open(dir.path().join("log.db"))
                    .await
                    .unwrap();
                let query = blobs
                    .iter()
                    .fold(sqlx::query(sql), |query, blob| query.bind(blob));
                query.execute(log.pool()).await.unwrap().rows_affected()
            }
            Place::Postgres(postgres) => {
                let log = crate::PostgresLog::open(&postgres.url()).await.unwrap();
                let query = blobs
                    .iter()
                    .fold(sqlx::query(sql), |query, blob| query.bind(blob));
                query.execute(log.pool()).await.unwrap().rows_affected()
            }
        };
        assert_ne!(changed, 0, "the statement changes something");
    }
}

/// Opens what [`Store::name`] names.
pub(crate) async fn open_named(name: &str) -> Arc<dyn crate::Log> {
    if name.starts_with("postgres:") {
        Arc::new(crate::PostgresLog::open(name).await.unwrap())
    } else {
        Arc::new(crate::SqliteLog::open(name).await.unwrap())
    }
}

/// Defines tests that run on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: Store) $body:block)+) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn check($store: Store) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                check(Store::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                check(Store::postgres().await).await;
            }
        }
    )+};
}
pub(crate) use on_both;
