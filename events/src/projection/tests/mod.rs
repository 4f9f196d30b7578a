//! Projections of the toy bank on both databases.
#![allow(clippy::unwrap_used)]

mod exactly_once;
mod rebuild;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{
    Column, Keys, Page, Projection, ProjectionError, ProjectionOptions, ProjectionStatus,
    Projections, Rows, Snapshot, Source, Stop, Table, Value, ViewStore,
};
use crate::{
    Event as _, Executor, Handle, LogError, Recorded,
    testing::PrivatePostgres,
    toy::{Bank, Happened, Order, deposit, reproducible, request, transfer},
};

/// Where one test's views are.
pub(super) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(PrivatePostgres),
}

impl Place {
    pub(super) async fn open(&self) -> ViewStore {
        match self {
            Self::Sqlite(dir) => ViewStore::sqlite(dir.path().join("views.sqlite")).await,
            Self::Postgres(postgres) => ViewStore::postgres_with(postgres.options()).await,
        }
        .unwrap()
    }
}

/// Defines tests that run with views in SQLite and in PostgreSQL.
macro_rules! on_both_stores {
    ($($(#[$meta:meta])* async fn $name:ident($place:ident: Place) $body:block)+) => {$(
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn check($place: Place) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                check(Place::Sqlite(tempfile::tempdir().unwrap())).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                check(Place::Postgres(crate::testing::PrivatePostgres::start().await)).await;
            }
        }
    )+};
}
pub(super) use on_both_stores;

/// A bank on a fresh log.
pub(super) async fn bank(dir: &Path) -> Handle<Bank> {
    let log = crate::SqliteLog::open(dir.join("log.sqlite"))
        .await
        .unwrap();
    Executor::start(Arc::new(log), reproducible())
        .await
        .unwrap()
}

/// Moves money about; answers the log's size then.
pub(super) async fn trade(bank: &Handle<Bank>, commands: usize) -> u64 {
    for n in 0..commands {
        let name = |n: usize| format!("a{}", n % 17);
        let order = if n % 3 == 0 {
            deposit(&name(n), 1_000 + n as u64)
        } else {
            transfer(&name(n), &name(n * 7 + 1), 1 + n as u64 % 5)
        };
        // A transfer that is not covered is refused, and leaves no event.
        let _ = bank.submit(request(order)).await;
    }
    bank.head().size
}

/// Balances and every movement.
pub(super) struct Accounts {
    pub(super) version: u32,
    /// Panics or refuses at this position while it is there.
    pub(super) poison: Option<(u64, Poison)>,
    pub(super) tables: &'static [Table],
    /// Batches begun, for tests that need to see work.
    pub(super) batches: AtomicU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    Refuse,
    Panic,
    /// Writes what a NOT NULL column can't take.
    Row,
}

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "bank_accounts",
        about: "Balances.",
        columns: &[
            Column::text("account", "Its name."),
            Column::int("cents", "Its balance."),
            Column::int("movements", "How many there were."),
        ],
        key: 1,
        indexes: &[&["cents"]],
    },
    Table {
        name: "bank_movements",
        about: "Every change.",
        columns: &[
            Column::int("position", "Of the event."),
            Column::text("account", "Whose."),
            Column::int("cents", "Above zero where it came in."),
            Column::text("note", "Nothing.").or_null(),
        ],
        key: 1,
        indexes: &[],
    },
];

pub(super) fn accounts(version: u32) -> Accounts {
    Accounts {
        version,
        poison: None,
        tables: TABLES,
        batches: AtomicU32::new(0),
    }
}

#[async_trait]
impl Projection<Happened> for Accounts {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn tables(&self) -> &'static [Table] {
        self.tables
    }

    fn wants(&self, event: &Recorded<Happened>, keys: &mut Keys) {
        // Every other event's row is left to be loaded on demand.
        if let (Happened::Deposited { to: account, .. }, 0) = (&event.event, event.position % 2) {
            keys.add("bank_accounts", [account.as_str().into()]);
        }
    }

    async fn apply(
        &self,
        event: &Recorded<Happened>,
        rows: &mut Rows<'_>,
    ) -> Result<(), ProjectionError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut cents_of_row = None;
        match self
            .poison
            .filter(|(position, _)| *position == event.position)
        {
            Some((_, Poison::Refuse)) => return Err(ProjectionError::refused("I don't like it")),
            Some((_, Poison::Panic)) => panic!("it hurts"),
            Some((_, Poison::Row)) => cents_of_row = Some(Value::Null),
            None => {}
        }
        let (account, cents) = match &event.event {
            Happened::Deposited { to, cents } => (to, *cents as i64),
            Happened::Withdrawn { from, cents } => (from, -(*cents as i64)),
            Happened::TicketDrawn { .. }
            | Happened::Noted { .. }
            | Happened::Poisoned
            | Happened::Rounded => {
                return Ok(());
            }
        };
        let row = rows
            .entry("bank_accounts", [account.as_str().into()])
            .await?;
        row.add("cents", cents)?.add("movements", 1)?;
        rows.insert(
            "bank_movements",
            [
                ("position", Value::Int(event.position as i64)),
                ("account", account.as_str().into()),
                ("cents", cents_of_row.unwrap_or(cents.into())),
            ],
        )
    }
}

/// A bank's log that seems to end where a test says, or to have a hole.
pub(super) struct Cut<S> {
    pub(super) of: S,
    pub(super) size: std::sync::atomic::AtomicU64,
    pub(super) hole: Option<u64>,
}

#[async_trait]
impl<S: Source<Happened>> Source<Happened> for Cut<S> {
    fn size(&self) -> u64 {
        self.size.load(Ordering::SeqCst).min(self.of.size())
    }

    async fn page(&self, from: u64, limit: usize) -> Result<Page<Happened>, LogError> {
        let left = self.size().saturating_sub(from);
        let mut page = self.of.page(from, limit.min(left as usize)).await?;
        if let Some(hole) = self.hole {
            page.events.retain(|event| event.recorded.position != hole);
        }
        Ok(page)
    }

    async fn beyond(&self, position: u64) -> bool {
        while self.size() <= position {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

pub(super) fn cut(bank: &Handle<Bank>, size: u64) -> Cut<Handle<Bank>> {
    Cut {
        of: bank.clone(),
        size: size.into(),
        hole: None,
    }
}

pub(super) fn quick(batch_events: usize) -> ProjectionOptions {
    ProjectionOptions {
        batch_events,
        // Longer than a test's reader takes on a busy machine.
        retired_for: Duration::from_secs(5),
        look_every: Duration::from_millis(20),
    }
}

pub(super) async fn start(
    place: &Place,
    source: impl Source<Happened>,
    projection: Accounts,
    batch_events: usize,
) -> Projections {
    let projection: Arc<dyn Projection<Happened>> = Arc::new(projection);
    let store = place.open().await;
    Projections::start(
        store,
        Arc::new(source),
        vec![projection],
        &quick(batch_events),
    )
    .unwrap()
}

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn level(projections: &Projections, position: u64) -> Snapshot {
    assert!(
        projections.reach("bank", position, PATIENCE).await,
        "{:?}",
        projections.statuses().await
    );
    projections.snapshot("bank").await.unwrap()
}

/// Waits until the statuses are as wanted.
pub(super) async fn until(
    projections: &Projections,
    what: &str,
    holds: impl Fn(&[ProjectionStatus]) -> bool,
) -> Vec<ProjectionStatus> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let statuses = projections.statuses().await.unwrap();
        if holds(&statuses) {
            return statuses;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: {statuses:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The rows must be exactly what the first `position` events make.
pub(super) async fn equal(bank: &Handle<Bank>, snapshot: &mut Snapshot) {
    let position = snapshot.position();
    let page = Source::<Happened>::page(bank, 0, position as usize)
        .await
        .unwrap();
    assert_eq!(
        (page.events.len() as u64, page.stop),
        (position, None::<Stop>)
    );
    let mut balances: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut movements = Vec::new();
    for event in page.events.iter().map(|event| &event.recorded) {
        let (account, cents) = match &event.event {
            Happened::Deposited { to, cents } => (to.clone(), *cents as i64),
            Happened::Withdrawn { from, cents } => (from.clone(), -(*cents as i64)),
            other => panic!("{}", other.label()),
        };
        let of = balances.entry(account.clone()).or_default();
        *of = (of.0 + cents, of.1 + 1);
        movements.push(vec![
            Value::Int(event.position as i64),
            account.into(),
            cents.into(),
        ]);
    }
    let expected: Vec<_> = balances
        .into_iter()
        .map(|(account, (cents, count))| vec![account.into(), cents.into(), count.into()])
        .collect();
    let sql = "SELECT account, cents, movements FROM {bank_accounts} ORDER BY account";
    assert_eq!(snapshot.select(sql, &[]).await.unwrap(), expected);
    let sql = "SELECT position, account, cents FROM {bank_movements} ORDER BY position";
    assert_eq!(snapshot.select(sql, &[]).await.unwrap(), movements);
}

/// One order that must be accepted.
pub(super) async fn order(bank: &Handle<Bank>, order: Order) {
    bank.submit(request(order)).await.unwrap();
}
