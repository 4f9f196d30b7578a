//! Whatever is killed at any moment, the server or its database, what was acknowledged is in the log, once.
//!
//! A few cycles belong to the test command; `cargo xtask crash --cycles N` runs more (`AEVIR_CRASH_CYCLES`).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aevir_events::{
    Log, PostgresLog, SqliteLog, replay_log,
    testing::{Crash, PrivatePostgres},
};
use aevir_platform::Platform;
use serde_json::{Value, json};

use crate::platform::{Stores, TestPlatform, echo_definition};

/// Callers that submit at once.
const CALLERS: u32 = 16;
/// Commands acknowledged between two crashes, at least.
const BETWEEN: usize = 60;
/// Cycles in the test command: each way to crash once.
const CYCLES: u32 = 3;
/// Old keys that are repeated after each crash.
const REPEATED: usize = 20;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_crashes_on_sqlite() {
    let platform = TestPlatform::start().await;
    crash_again_and_again(platform, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_crashes_on_postgres() {
    let postgres = PrivatePostgres::alone().await;
    let stores = Stores {
        args: vec!["--database".to_owned(), postgres.url()],
        env: Vec::new(),
    };
    let platform = TestPlatform::start_on(stores).await;
    crash_again_and_again(platform, Some(postgres)).await;
}

fn cycles() -> u32 {
    match std::env::var("AEVIR_CRASH_CYCLES") {
        Ok(text) => text.parse().expect("AEVIR_CRASH_CYCLES is a number"),
        Err(_) => CYCLES,
    }
}

/// What the callers share.
struct Load {
    client: aevir_wire::Client,
    definition: Value,
    /// Task by key, as acknowledged. Every key that was used gets there: it is repeated until it is answered.
    acknowledged: Mutex<BTreeMap<String, String>>,
    /// Calls that failed for good, after the client's own repeats, and were made again under their key.
    failed: AtomicU32,
    /// Callers take no new keys.
    held: AtomicBool,
    busy: AtomicU32,
    over: AtomicBool,
}

impl Load {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    async fn call(self: Arc<Self>, caller: u32) {
        for number in 0.. {
            while self.held.load(Ordering::SeqCst) {
                tokio::time::sleep(POLL).await;
            }
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            self.busy.fetch_add(1, Ordering::SeqCst);
            // `hold` sees this caller as busy from here on, or it saw `held` above.
            if !self.held.load(Ordering::SeqCst) {
                self.submit(&format!("{caller}-{number}")).await;
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn submit(&self, key: &str) {
        let started = Instant::now();
        loop {
            match self.client.submit_task(&self.definition, Some(key)).await {
                Ok(task) => {
                    self.acknowledged
                        .lock()
                        .unwrap()
                        .insert(key.to_owned(), task.id);
                    return;
                }
                Err(error) => {
                    assert!(
                        started.elapsed() < PATIENCE,
                        "{key} gets no answer: {error}"
                    );
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }

    async fn until_more(&self, than: usize) {
        wait("the callers get answers", || self.count() >= than).await;
    }

    /// Lets the callers finish what they have begun.
    async fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
        wait("the callers are done", || {
            self.busy.load(Ordering::SeqCst) == 0
        })
        .await;
    }

    fn go_on(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

async fn wait(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(POLL).await;
    }
}

async fn crash_again_and_again(mut platform: TestPlatform, postgres: Option<PrivatePostgres>) {
    let module = platform.push_echo().await;
    let load = Arc::new(Load {
        client: platform.requester.clone(),
        definition: definition(&module),
        acknowledged: Mutex::default(),
        failed: AtomicU32::new(0),
        held: AtomicBool::new(false),
        busy: AtomicU32::new(0),
        over: AtomicBool::new(false),
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(Arc::clone(&load).call(caller)))
        .collect();
    let started = Instant::now();
    let (cycles, mut interrupted) = (cycles(), 0);
    for cycle in 0..cycles {
        load.until_more(load.count() + BETWEEN).await;
        // Not always at the same point of a commit.
        tokio::time::sleep(Duration::from_micros(u64::from(cycle % 7) * 700)).await;
        wait("calls are in flight", || {
            load.busy.load(Ordering::SeqCst) > 0
        })
        .await;
        interrupted += load.busy.load(Ordering::SeqCst);
        let way = match (&postgres, cycle % 3) {
            (Some(postgres), 1) => {
                postgres.crash(Crash::Immediate).await;
                "database stopped immediately"
            }
            (Some(postgres), 2) => {
                postgres.crash(Crash::Kill).await;
                "database killed"
            }
            _ => {
                platform.kill_server();
                platform.start_server();
                "server killed"
            }
        };
        // It goes on, and then nothing that was said before or after is missing.
        load.until_more(load.count() + BETWEEN / 2).await;
        load.hold().await;
        let size = check(&platform, postgres.as_ref(), &load).await;
        println!(
            "cycle {cycle}, {way}: {} acknowledged, {size} entries",
            load.count()
        );
        load.go_on();
    }
    load.over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    println!(
        "{cycles} crashes in {:.0} s, with {interrupted} calls in flight, {} of which the client gave up: \
         {} commands acknowledged, none lost, none doubled",
        started.elapsed().as_secs_f64(),
        load.failed.load(Ordering::Relaxed),
        load.count(),
    );
    audit(&platform);
}

/// Compares what was acknowledged with the log itself, past the server. Answers the log's size.
async fn check(platform: &TestPlatform, postgres: Option<&PrivatePostgres>, load: &Load) -> u64 {
    let log: Arc<dyn Log> = match postgres {
        Some(postgres) => Arc::new(PostgresLog::open(&postgres.url()).await.unwrap()),
        None => Arc::new(
            SqliteLog::open(platform.folder().join("log.sqlite"))
                .await
                .unwrap(),
        ),
    };
    // Dense positions, canonical bytes, leaves, revisions, legal events, and the root that the head says.
    let replayed = replay_log::<Platform>(log.as_ref()).await.unwrap();
    let mut created: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let stored = log.read(0, replayed.size as usize).await.unwrap();
    for envelope in stored.iter().map(|stored| stored.entry.envelope().unwrap()) {
        if envelope.label == "task.created" {
            let task = envelope.stream.strip_prefix("task/").unwrap();
            created
                .entry(envelope.cause)
                .or_default()
                .push(task.to_owned());
        }
    }
    let acknowledged = load.acknowledged.lock().unwrap().clone();
    for (key, task) in &acknowledged {
        let there = created.get(key).map(Vec::as_slice);
        assert_eq!(
            there,
            Some(std::slice::from_ref(task)),
            "the tasks of {key}"
        );
    }
    assert_eq!(created.len(), acknowledged.len(), "nothing else happened");
    // A repeat under its key answers the same task.
    let step = acknowledged.len().div_ceil(REPEATED);
    for (key, task) in acknowledged.iter().step_by(step) {
        let again = load
            .client
            .submit_task(&load.definition, Some(key))
            .await
            .unwrap();
        assert_eq!(again.id, *task, "{key} repeated");
    }
    replayed.size
}

/// The live state is the log's, the money adds up, and each task's escrow was locked once.
fn audit(platform: &TestPlatform) {
    let audit = platform
        .aevir_with(&platform.admin_key(), &["audit", "--output", "json"])
        .unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["ledger"]["sum"], "0");
    assert_eq!(audit["live"]["equal"], true);
}

fn definition(module: &str) -> Value {
    let changes =
        json!({"economics": {"budget": "10000", "pricing": {"mode": "fixed", "price": "1000"}}});
    echo_definition(module, json!({}), changes)
}
