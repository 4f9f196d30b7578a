//! One after the other: the next replica of a sample is drawn once those before are sealed, and all at once only where time is
//! short for that.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use aevir_platform::{
    amount::Count,
    command::{Command, LossReason},
    event::Event,
    ids::{AssignmentId, TaskId},
    policy::Policy,
    schedule::{self, WaitsFor},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, labels, recompute},
};

/// The policy's times, in ms: to start, and to reveal.
const ACCEPT_MS: i64 = 30_000;
const REVEAL_MS: i64 = 30_000;

fn world(nodes: usize) -> World {
    let mut w = World::new();
    for n in 0..nodes {
        w.node(&format!("node {n}"));
    }
    w
}

/// A sample of so many, with 10 s for each run.
fn sampled(w: &mut World, replicas: u32, qos: Value) -> TaskId {
    let method = json!({"method": "sampling", "quorum": replicas, "replicas": replicas});
    w.task(json!({"verification": [method], "limits": {"runtime_s": 10}, "qos": qos}))
}

fn commit(w: &mut World, run: AssignmentId) -> Vec<Event> {
    w.start(run);
    let run = w.run(run, json!({}), &[]);
    w.commit(&run)
}

/// Runs that hold a lease, by task.
type Runs = BTreeMap<TaskId, BTreeSet<AssignmentId>>;

fn end(runs: &mut Runs, task: TaskId, run: AssignmentId) {
    if let Some(runs) = runs.get_mut(&task) {
        runs.remove(&run);
    }
}

/// What a log must show of every sample, told from its events alone: where time allows it, nothing of it runs when the next
/// replica is leased.
pub fn check(w: &World) {
    let mut queued: BTreeMap<TaskId, Timestamp> = BTreeMap::new();
    let mut runs: Runs = BTreeMap::new();
    let mut at_once: BTreeSet<TaskId> = BTreeSet::new();
    for recorded in &w.log {
        match &recorded.event {
            Event::TaskQueued(e) => {
                queued.insert(e.task, recorded.time);
                let task = &w.state.tasks[&e.task];
                let sampling = task.definition.sampling();
                let wanted = i64::from(sampling.initial());
                let turn = ACCEPT_MS + 1_000 * i64::from(task.definition.limits.runtime_s);
                let needed = wanted * turn + REVEAL_MS;
                let qos = &task.definition.qos;
                let deadline = qos.deadline.map(|at| at.0 - recorded.time.0);
                let latest = qos.max_latency_ms.map(i64::from);
                let latest = latest.into_iter().chain(deadline).min();
                if !sampling.adaptive && latest.is_some_and(|latest| latest <= needed) {
                    at_once.insert(e.task);
                }
            }
            Event::TaskHastened(e) => assert!(at_once.insert(e.task), "hastened twice"),
            Event::AssignmentLeased(e) => {
                let runs = runs.entry(e.task).or_default();
                let may = runs.is_empty() || e.doubles.is_some() || at_once.contains(&e.task);
                assert!(may, "{} is leased while {runs:?}", e.assignment);
                runs.insert(e.assignment);
            }
            Event::AssignmentCommitted(e) => end(&mut runs, e.task, e.assignment),
            Event::AssignmentFailed(e) => end(&mut runs, e.task, e.assignment),
            Event::AssignmentLost(e) => end(&mut runs, e.task, e.assignment),
            Event::AssignmentReturned(e) => end(&mut runs, e.task, e.assignment),
            Event::AssignmentWithdrawn(e) => end(&mut runs, e.task, e.assignment),
            _ => {}
        }
    }
}

#[test]
fn the_next_replica_is_drawn_once_the_one_before_is_sealed() {
    let mut w = world(5);
    let task = sampled(&mut w, 3, json!({}));
    for sealed in 0..3 {
        let plan = w.plan();
        assert_eq!(plan.len(), 1, "one at a time, after {sealed}");
        assert!(w.plan().is_empty() && !w.state.has_placeable());
        w.start(plan[0].1);
        w.later(3_600_000);
        assert!(w.plan().is_empty(), "however long it takes");
        let events = commit(&mut w, plan[0].1);
        let last = sealed == 2;
        assert_eq!(labels(&events).contains(&"task.round_closed"), last);
        assert_eq!(w.state.has_placeable(), !last);
    }
    w.reveal_all(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    check(&w);
    w.check_replay();
    documents_agree(&w, "pace");
}

#[test]
fn a_run_that_is_lost_or_fails_makes_way_for_one_other() {
    let mut w = world(4);
    let task = sampled(&mut w, 2, json!({}));
    let (_, first, silent) = w.plan()[0];
    w.start(first);
    w.ok(Command::LoseLease {
        assignment: first,
        reason: LossReason::Silent,
    });
    w.heard_from(silent);
    let plan = w.plan();
    assert_eq!(plan.len(), 1);
    commit(&mut w, plan[0].1);
    assert_eq!(w.plan().len(), 1);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    check(&w);
    w.check_replay();
}

#[test]
fn a_further_round_waits_for_nothing_that_is_sealed() {
    let mut w = world(3);
    let method = json!({"method": "sampling", "quorum": 2, "replicas": 3});
    let task = w.task(json!({"verification": [method]}));
    w.finish(task, |node| json!({"n": node.to_string()}));
    assert_eq!(
        (w.phase(task), w.state.tasks[&task].round),
        ("inconclusive", 2)
    );
    check(&w);
}

#[test]
fn at_once_where_one_after_the_other_could_be_too_late() {
    // Two turns of 30 s to start and 10 s to run, and 30 s to reveal.
    let needed = 2 * (ACCEPT_MS + 10_000) + REVEAL_MS;
    for (latest, at_once) in [(needed, 2), (needed + 1, 1)] {
        let mut w = world(3);
        sampled(&mut w, 2, json!({"max_latency_ms": latest}));
        assert_eq!(w.plan().len(), at_once);
        check(&w);
    }
    // A deadline counts alike; and what a run is expected to burn, at the speed that is asked for, shortens its turn to 32 s.
    let fuel = json!({"expected_fuel": "2000000000", "min_mfuel_s": 1_000});
    for (spare, at_once) in [(0, 2), (1, 1)] {
        let mut w = world(3);
        let mut qos = fuel.clone();
        let deadline = w.now.plus_ms(2 * 32_000 + REVEAL_MS + spare);
        qos["deadline"] = deadline.to_string().into();
        sampled(&mut w, 2, qos);
        assert_eq!(w.plan().len(), at_once);
    }
}

#[test]
fn a_task_whose_time_runs_short_is_hastened() {
    let mut w = world(3);
    // Three turns of 40 s would take until 150 s.
    let task = sampled(&mut w, 3, json!({"max_latency_ms": 160_000}));
    let (_, run, _) = w.plan()[0];
    w.start(run);
    // The other two need 110 s.
    let due = w.now.plus_ms(160_000 - 110_000);
    assert_eq!(w.state.next_due(), Some(due));
    w.later(49_999);
    assert!(w.ok(Command::Tick).is_empty() && w.plan().is_empty());
    w.later(1);
    assert!(w.plan().is_empty(), "a tick says so first");
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.hastened"]);
    assert!(w.ok(Command::Tick).is_empty());
    let plan = w.plan();
    assert_eq!(plan.len(), 2);
    commit(&mut w, run);
    plan.iter()
        .for_each(|(_, run, _)| drop(commit(&mut w, *run)));
    w.reveal_all(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    check(&w);
    w.check_replay();
    documents_agree(&w, "hastened");
}

#[test]
fn a_task_that_no_node_took_in_time_is_hastened_too() {
    let mut w = world(0);
    sampled(&mut w, 2, json!({"max_latency_ms": 120_000}));
    w.later(10_000);
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.hastened"]);
    for name in ["a", "b"] {
        w.node(name);
    }
    assert_eq!(w.plan().len(), 2);
    w.check_replay();
}

#[test]
fn an_audit_finds_a_replica_that_was_placed_beside_another_and_haste_before_its_time() {
    let mut w = world(3);
    sampled(&mut w, 2, json!({"max_latency_ms": 160_000}));
    w.plan();
    w.later(90_000);
    w.ok(Command::Tick);
    w.plan();
    recompute(&w.log).unwrap();
    let leased = |e: &Event| matches!(e, Event::AssignmentLeased(_));
    let hastened = w
        .log
        .iter()
        .position(|r| matches!(r.event, Event::TaskHastened(_)))
        .unwrap();
    // Without the haste, the second lease is one too many.
    let mut log = w.log.clone();
    log.remove(hastened);
    let fault = recompute(&log).unwrap_err();
    assert!(fault.to_string().contains("assignment.leased"), "{fault}");
    let second = log.iter().rposition(|r| leased(&r.event)).unwrap();
    assert_eq!(fault.position, log[second].position);
    // A millisecond too early.
    let mut log = w.log.clone();
    log[hastened].time = log[hastened].time.plus_ms(-1);
    assert_eq!(
        recompute(&log).unwrap_err().position,
        log[hastened].position
    );
}

#[test]
fn why_names_the_run_that_is_waited_for_and_a_quote_counts_the_turns() {
    let mut w = world(3);
    let task = sampled(&mut w, 2, json!({"max_latency_ms": 160_000}));
    let (_, run, _) = w.plan()[0];
    let why = schedule::why(&w.state, &w.state.tasks[&task], w.now);
    assert_eq!(
        (why.waits_for, &why.awaits[..]),
        (WaitsFor::Commitment, &[run][..])
    );
    assert_eq!(why.at_once_from, Some(w.now.plus_ms(90_000)));
    commit(&mut w, run);
    let why = schedule::why(&w.state, &w.state.tasks[&task], w.now);
    assert_eq!((why.waits_for, why.awaits.len()), (WaitsFor::Turn, 0));

    let policy = Policy::default();
    assert_eq!(
        (policy.accept_ms, policy.reveal_ms),
        (ACCEPT_MS as u32, REVEAL_MS as u32)
    );
    for (latest, turns) in [(200_000, 2), (20_000, 1)] {
        let mut definition = w.definition(json!({
            "verification": [{"method": "sampling", "quorum": 2, "replicas": 2}],
            "limits": {"runtime_s": 10},
            "qos": {"max_latency_ms": latest},
        }));
        definition.seed = Some(Count(1));
        let quote = w.quote(&definition).unwrap();
        assert_eq!(quote.at_once, turns == 1);
        let took = quote.finishes_by.unwrap().0 - quote.starts_at.unwrap().0;
        assert_eq!(took, turns * 10_000);
    }
}
