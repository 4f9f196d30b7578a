//! Executors on a log that does to them what databases, networks and machines do, a thousand times.
//!
//! A seed decides everything: who asks what, which request is slow or lost, which process crashes or is stopped while
//! another takes over, in which order tasks wake up, how the clocks jump. Afterwards a model says whether every
//! answer was true. `AEVIR_SIM_SEED=n` replays one seed, `AEVIR_SIM_SEEDS=n` runs more of them.

mod callers;
mod check;
mod cluster;
mod store;
mod world;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use self::{
    callers::{Attempt, History, call, follow},
    check::Model,
    cluster::{Cluster, Process},
    store::{Disk, Line, SimLog, TEARS, Tear},
    world::{VirtualTimer, World},
};
use super::start_with;
use crate::{
    Flaw, Hash, Log, Options, ReplayError, Request, StartError, Status, SubmitError, replay_log,
    toy::{Bank, Order, deposit, keyed, reproducible, request},
};

/// Seeds in the test command.
const SEEDS: u64 = 1_000;
/// Virtual time after which something hangs.
const DEADLINE: Duration = Duration::from_secs(2 * 3_600);
/// Virtual time in which whatever is still on its way arrives.
const SETTLE: Duration = Duration::from_secs(60);

/// How one simulation went.
struct Run {
    violations: Vec<String>,
    story: String,
    trace: Hash,
    entries: u64,
}

/// Runs a future in a world of its own: one thread, virtual time.
fn in_world<F: Future>(seed: u64, body: impl FnOnce(Arc<World>) -> F) -> F::Output {
    let world = World::new(seed);
    let idle = Arc::clone(&world);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || idle.advance())
        .build()
        .unwrap();
    runtime.block_on(body(world))
}

fn simulate(seed: u64) -> Run {
    in_world(seed, |world| async move {
        let cluster = Cluster::new(Arc::clone(&world));
        let entries = tokio::select! {
            biased;
            () = world.violated() => 0,
            entries = live(&cluster) => entries,
            () = world.sleep(DEADLINE) => {
                world.violation("somebody waits forever");
                0
            }
        };
        Run {
            violations: world.violations(),
            story: world.story(),
            trace: world.trace_hash(),
            entries,
        }
    })
}

/// Callers, followers and fate; then calm, and the reckoning. Answers the log's size.
async fn live(cluster: &Arc<Cluster>) -> u64 {
    let world = &cluster.world;
    world.note(format_args!("{:?}", world.weather));
    while !cluster.start(false).await {}
    let history = History::default();
    let (end, ends) = tokio::sync::watch::channel(u64::MAX);
    let fate = tokio::spawn(Arc::clone(cluster).fate());
    let followers: Vec<_> = (0..1 + world.below(3))
        .map(|_| tokio::spawn(follow(Arc::clone(cluster), ends.clone())))
        .collect();
    let callers: Vec<_> = (0..1 + world.below(5))
        .map(|caller| tokio::spawn(call(Arc::clone(cluster), Arc::clone(&history), caller)))
        .collect();
    join(world, callers).await;
    cluster.quiet.store(true, Ordering::Relaxed);
    join(world, vec![fate]).await;
    cluster.heal();
    world.sleep(SETTLE).await;

    // Whoever still leads goes on, and another one can take over.
    if let Some(leader) = cluster.leader() {
        must_write(world, &leader, &history, "node/leader").await;
    }
    if !cluster.start(true).await {
        world.violation("the log can't be taken over");
        return 0;
    }
    let last = cluster.newest();
    must_write(world, &last, &history, "node/last").await;
    let head = last.bank.head();
    end.send_replace(head.size);
    let followed = join(world, followers).await;
    cluster.observe();
    match replay_log::<Bank>(SimLog::calm(world, &cluster.disk, "audit").as_ref()).await {
        Ok(replayed) if (replayed.size, replayed.root) == (head.size, head.root) => {}
        other => world.violation(format_args!(
            "the audit says {other:?}, the leader {head:?}"
        )),
    }
    let disk = cluster.disk.lock().unwrap();
    let model = Model::new(world, &disk);
    model.check_reads(&cluster.observed.lock().unwrap(), &followed);
    model.check_answers(&history.lock().unwrap());
    world.note(format_args!("root {}", head.root));
    head.size
}

/// On a calm log a leader can write.
async fn must_write(world: &World, leader: &Process, history: &History, actor: &str) {
    let request = Request {
        actor: actor.to_owned(),
        ..request(deposit("end", 1))
    };
    let before = leader.bank.head().size;
    let answer = leader.bank.submit(request.clone()).await;
    if let Err(error) = &answer {
        world.violation(format_args!(
            "{} leads and can't write: {error}",
            leader.log.name
        ));
    }
    history.lock().unwrap().push(Attempt {
        request,
        before,
        after: before + 1,
        answer: Some(answer),
    });
}

async fn join<T>(world: &World, tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(panic) => world.violation(format_args!("a task of the simulation died: {panic}")),
        }
    }
    results
}

/// A number from the environment.
fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|e| panic!("{name} is to be a number, not `{text}`: {e}")),
    )
}

/// The seeds to run.
fn seeds() -> Range<u64> {
    match from_env("AEVIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("AEVIR_SIM_SEEDS").unwrap_or(SEEDS),
    }
}

/// Runs `body` for all seeds on all cores.
fn for_all(seeds: Range<u64>, body: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    body(seed);
                }
            });
        }
    });
}

#[test]
fn a_thousand_simulated_histories() {
    let (failed, entries) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    for_all(seeds, |seed| {
        let run = simulate(seed);
        entries.fetch_add(run.entries, Ordering::Relaxed);
        if !run.violations.is_empty() {
            failed.lock().unwrap().push((seed, run));
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, run)) = failed.first() {
        panic!(
            "{}\n\nseed {seed}: {}\n\n{} of {count} seeds failed; replay this one with\n\
             AEVIR_SIM_SEED={seed} cargo test -p aevir-events a_thousand_simulated_histories",
            run.story,
            run.violations.join("\n"),
            failed.len()
        );
    }
    let entries = entries.into_inner();
    assert!(
        entries >= count * 2,
        "{entries} entries in {count} histories show nothing"
    );
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let (first, second) = (simulate(seed), simulate(seed));
        assert_eq!(
            first.trace, second.trace,
            "{}\n\nand then\n\n{}",
            first.story, second.story
        );
        assert_ne!(
            first.trace,
            simulate(seed + 1_000_000).trace,
            "another seed is another history"
        );
    }
}

/// What a start and an audit say of a log that was torn.
async fn found_in(disk: &Arc<Mutex<Disk>>, world: &Arc<World>) -> (Option<Flaw>, Option<Flaw>) {
    let log = || SimLog::calm(world, disk, "next");
    let at_start = match start_with(log() as Arc<dyn Log>, reproducible()).await {
        Ok(_) => None,
        Err(StartError::Damage(damage)) => Some(damage.flaw),
        Err(StartError::Log(error)) => panic!("{error}"),
    };
    let by_audit = match replay_log::<Bank>(log().as_ref()).await {
        Ok(_) => None,
        Err(ReplayError::Damage(damage)) => Some(damage.flaw),
        Err(ReplayError::Log(error)) => panic!("{error}"),
    };
    (at_start, by_audit)
}

/// The contract says all or nothing. A store that breaks it is found out before anything is decided on it.
#[test]
fn a_batch_that_is_torn_is_found_at_the_next_start() {
    for_all(0..50, |seed| {
        in_world(seed, |world| async move {
            for tear in TEARS {
                let disk = Disk::new();
                let log = SimLog::calm(&world, &disk, "first");
                let bank = start_with(log as Arc<dyn Log>, reproducible())
                    .await
                    .unwrap();
                for _ in 0..world.below(5) {
                    bank.submit(request(deposit("a", 1))).await.unwrap();
                }
                assert_eq!(found_in(&disk, &world).await, (None, None), "whole so far");
                let bank = {
                    drop(bank);
                    let log = SimLog::calm(&world, &disk, "second");
                    start_with(log as Arc<dyn Log>, reproducible())
                        .await
                        .unwrap()
                };
                disk.lock().unwrap().tear_next(tear);
                let count = 3 + world.below(5) as usize;
                let torn = Order::Many {
                    to: "b".to_owned(),
                    count,
                };
                bank.submit(request(torn)).await.unwrap();
                let found = found_in(&disk, &world).await;
                let expected = |flaw: &Option<Flaw>| match tear {
                    Tear::RowsCutOff => matches!(flaw, Some(Flaw::Missing)),
                    Tear::RowLost => matches!(flaw, Some(Flaw::Gap(_))),
                    Tear::HeadNotMoved => matches!(flaw, Some(Flaw::BeyondHead)),
                    Tear::RowMixedUp => matches!(flaw, Some(Flaw::Position(_))),
                    Tear::RootNotMoved => matches!(flaw, Some(Flaw::Root { .. })),
                };
                assert!(
                    expected(&found.0),
                    "seed {seed}, {tear:?}: a start says {:?}",
                    found.0
                );
                // An audit reads up to the head, so it does not see what lies behind it.
                let beyond = tear == Tear::HeadNotMoved;
                assert!(
                    beyond || expected(&found.1),
                    "seed {seed}, {tear:?}: an audit says {:?}",
                    found.1
                );
            }
        });
    });
}

/// The database is gone for an hour: nobody waits for it, nothing is lost, and it goes on by itself.
#[test]
fn an_hour_without_the_database_keeps_nobody_waiting() {
    in_world(1, |world| async move {
        let disk = Disk::new();
        let log = SimLog::calm(&world, &disk, "only");
        let options = Options {
            timer: Arc::new(VirtualTimer(Arc::clone(&world))),
            ..reproducible()
        };
        let bank = start_with(Arc::clone(&log) as Arc<dyn Log>, options)
            .await
            .unwrap();
        bank.submit(keyed("before", deposit("a", 1))).await.unwrap();
        log.set_line(Line::Down);
        let (mut refused, begun) = (0, world.now());
        while world.now() - begun < Duration::from_secs(3_600) {
            let asked = world.now();
            let order = deposit("a", 1);
            let answer = match refused % 2 {
                0 => bank.submit(request(order)).await,
                _ => bank.submit(keyed("during", order)).await,
            };
            assert!(
                matches!(answer, Err(SubmitError::Unavailable)),
                "{answer:?}"
            );
            assert!(world.now() - asked < Duration::from_secs(10), "it waits");
            refused += 1;
            world.pause_ms(60_000).await;
        }
        assert!(refused > 60 && bank.status() == Status::Recovering);
        log.set_line(Line::Up);
        world.sleep(Duration::from_secs(10)).await;
        for (key, replayed) in [("during", false), ("during", true), ("before", true)] {
            let receipt = bank.submit(keyed(key, deposit("a", 1))).await.unwrap();
            assert_eq!(receipt.replayed, replayed, "{key}");
        }
        assert_eq!(replay_log::<Bank>(log.as_ref()).await.unwrap().size, 2);
    });
}
