//! The SQL views against the machine: after random histories, at every batch's end, on both databases, their rows must
//! be the state's. And how fast they are folded.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    unreachable_pub,
    dead_code
)]

mod equal;
#[path = "../../../platform/tests/scenarios/lives.rs"]
mod lives;
mod pace;
#[path = "../../../platform/tests/scenarios/sealing.rs"]
mod sealing;
#[path = "../../../platform/tests/scenarios/world.rs"]
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aevir_api::views::projections;
use aevir_events::{
    Entry, LogError, Recorded,
    projection::{Page, Placed, ProjectionOptions, Projections, Source, ViewStore},
    testing::PrivatePostgres,
};
use aevir_platform::{
    amount::Amount,
    command::{Command, ContentKind, RegisterContent},
    content::{Access, Contributor},
    digest::Digest,
    event::Event,
    evolve,
    ids::ContentId,
    report::{Artifact, BlobRef},
    state::State,
};
use async_trait::async_trait;
use lives::{Lives, step};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use world::World;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in memory, of which as much can be seen as a test wants.
pub struct Past {
    events: Vec<Placed<Event>>,
    seen: AtomicU64,
}

impl Past {
    pub fn new(log: &[Recorded<Event>]) -> Arc<Self> {
        let events = log.iter().map(|recorded| Placed {
            leaf: Entry::encode(recorded).unwrap().leaf(),
            recorded: Arc::new(recorded.clone()),
        });
        Arc::new(Self {
            events: events.collect(),
            seen: 0.into(),
        })
    }

    pub fn show(&self, size: u64) {
        self.seen.store(size, Ordering::SeqCst);
    }
}

#[async_trait]
impl Source<Event> for Past {
    fn size(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    async fn page(&self, from: u64, limit: usize) -> Result<Page<Event>, LogError> {
        let seen = &self.events[..self.size() as usize];
        let events = seen
            .iter()
            .skip(from as usize)
            .take(limit)
            .cloned()
            .collect();
        Ok(Page { events, stop: None })
    }

    async fn beyond(&self, position: u64) -> bool {
        while self.size() <= position {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }
}

/// Waits until all projections show so many events.
pub async fn reach(views: &Projections, position: u64) {
    for name in views.names() {
        let reached = views.reach(name, position, PATIENCE).await;
        assert!(reached, "{name}: {:?}", views.statuses().await);
    }
}

/// Adds what the random steps leave out: contents, and modules with several names.
fn furnish(world: &mut World) {
    let account = world.account("contributor");
    for name in ["digits", "letters"] {
        let blob = BlobRef {
            digest: Digest::of(name.as_bytes()),
            size: aevir_platform::amount::Count(7),
        };
        world.ok(Command::RecordUpload { account, blob });
        let file = Artifact {
            name: "data.csv".into(),
            digest: blob.digest,
            size: blob.size,
        };
        world.ok(Command::RegisterContent(RegisterContent {
            owner: account,
            kind: ContentKind::Dataset,
            name: name.into(),
            version: "1".into(),
            files: vec![file],
            licence: "CC-BY-4.0".into(),
            weight: 3,
            price: Amount(500_000),
            access: Access::Accounts([world.requester].into()),
            contributors: vec![Contributor { account, weight: 2 }],
        }));
    }
    // One is opened, of the other the list changes twice.
    let friend = world.account("friend");
    let ids: Vec<ContentId> = world.state.contents.keys().copied().collect();
    let lists = [
        (ids[0], Access::Everybody),
        (ids[1], Access::Accounts([friend, account].into())),
        (ids[1], Access::Accounts([friend].into())),
    ];
    for (content, access) in lists {
        world.ok(Command::ChangeContentTerms {
            owner: account,
            content,
            price: Amount(700_000),
            access,
        });
    }
    world.push_module(account);
    let (key, _) = world
        .state
        .keys
        .iter()
        .find(|(_, key)| key.account == account)
        .unwrap();
    let key = *key;
    world.ok(Command::RevokeKey { account, key });
}

/// Folds a history bit by bit, and compares wherever it stops.
async fn follow(store: ViewStore, world: &World, batch_events: usize, stops: &[usize]) {
    let past = Past::new(&world.log);
    let options = ProjectionOptions {
        batch_events,
        look_every: Duration::from_millis(20),
        ..ProjectionOptions::default()
    };
    let views = Projections::start::<Event>(store, past.clone(), projections(), &options).unwrap();
    let (mut state, mut folded) = (State::default(), 0);
    for stop in stops {
        let until = (folded + stop).min(world.log.len());
        for recorded in &world.log[folded..until] {
            evolve(&mut state, recorded).unwrap();
        }
        folded = until;
        past.show(folded as u64);
        reach(&views, folded as u64).await;
        equal::check(&views, &state, folded as u64).await;
    }
    views.shutdown().await;
}

/// Random histories, from a fixed seed for each database: a failure comes again.
async fn random_histories(cases: usize, store: impl AsyncFn() -> ViewStore) {
    let mut runner = TestRunner::deterministic();
    let strategy = (
        prop::collection::vec(step(), 20..160),
        1usize..40,
        prop::collection::vec(1usize..60, 12),
    );
    for _ in 0..cases {
        let drawn = strategy.new_tree(&mut runner).unwrap().current();
        let (steps, batch_events, mut stops) = drawn;
        let mut lives = Lives::new();
        furnish(&mut lives.world);
        for step in steps {
            lives.take(step);
        }
        stops.push(usize::MAX / 2);
        follow(store().await, &lives.world, batch_events, &stops).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_equal_the_state_after_random_histories_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicU64::new(0);
    random_histories(12, async || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        ViewStore::sqlite(dir.path().join(format!("{number}.sqlite")))
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_equal_the_state_after_random_histories_in_postgres() {
    random_histories(6, async || {
        let postgres = PrivatePostgres::start().await;
        ViewStore::postgres_with(postgres.options()).await.unwrap()
    })
    .await;
}
