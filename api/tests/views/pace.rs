//! How fast a long history is folded. `AEVIR_PACE_EVENTS` says how long; the figures go to the test's output
//! (`--nocapture`). There is no bound on the time: machines differ.

use std::time::Instant;

use aevir_events::projection::{ProjectionOptions, Projections, ViewStore};
use aevir_platform::state::State;
use serde_json::json;

use super::{Past, PrivatePostgres, equal, evolve, projections, reach, world::World};

/// Enough for a dozen full batches.
const EVENTS: usize = 12_000;

/// A market at work: each task is submitted, run by two nodes, verified and settled.
fn history() -> World {
    let events = std::env::var("AEVIR_PACE_EVENTS").ok();
    let events = events.map_or(EVENTS, |text| {
        text.parse().expect("AEVIR_PACE_EVENTS is a number")
    });
    let mut world = World::new();
    for name in ["a", "b"] {
        world.node(name);
    }
    let verification = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let economics = json!({"budget": "20000", "pricing": {"mode": "fixed", "price": "1000"}});
    while world.log.len() < events {
        let labels = json!({"batch": (world.log.len() / 1_000).to_string()});
        let task = world
            .task(json!({"verification": verification, "economics": economics, "labels": labels}));
        world.finish(task, |_| json!({"n": 1}));
        world.later(7);
    }
    world
}

async fn measure(engine: &str, store: ViewStore) {
    let world = tokio::task::spawn_blocking(history).await.unwrap();
    let past = Past::new(&world.log);
    let size = world.log.len();
    past.show(size as u64);
    let begun = Instant::now();
    let options = ProjectionOptions::default();
    let views = Projections::start(store, past, projections(), &options).unwrap();
    reach(&views, size as u64).await;
    let took = begun.elapsed();
    let pace = size as f64 / took.as_secs_f64();
    println!("{engine}: {size} events into all views in {took:.2?}: {pace:.0} events/s");
    let mut state = State::default();
    for recorded in &world.log {
        evolve(&mut state, recorded).unwrap();
    }
    equal::check(&views, &state, size as u64).await;
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_folded_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store = ViewStore::sqlite(dir.path().join("views.sqlite"))
        .await
        .unwrap();
    measure("SQLite", store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_folded_in_postgres() {
    let postgres = PrivatePostgres::start().await;
    let store = ViewStore::postgres_with(postgres.options()).await.unwrap();
    measure("PostgreSQL", store).await;
}
