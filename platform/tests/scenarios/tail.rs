//! The tail: a run that may make its task late gets a duplicate on a faster node, the first results count, and what was
//! overtaken is paid as an attempt.

use aevir_platform::{
    amount::Count,
    command::{Availability, Command, FailureClass},
    event::Event,
    ids::{AssignmentId, NodeId, TaskId},
    schedule::Purpose,
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, labels, profile, recompute},
};

const ATTEMPT_FEE: i64 = 1_000;

/// A node of a new account with this measured speed, in millions of fuel a second.
fn node(w: &mut World, name: &str, mfuel_s: Option<u32>) -> NodeId {
    let owner = w.account(name);
    let mut profile = profile(name);
    profile.cpu_mfuel_s = mfuel_s;
    w.node_of(owner, profile)
}

fn task(w: &mut World, overrides: Value) -> TaskId {
    let mut terms = json!({"qos": {"max_latency_ms": 10_000}});
    for (field, value) in overrides.as_object().unwrap() {
        terms[field] = value.clone();
    }
    w.task(terms)
}

/// A task that runs on a slow node, and a fast one that came later.
fn slow_run(w: &mut World) -> (TaskId, AssignmentId, NodeId, NodeId) {
    let slow = node(w, "slow", Some(1_000));
    let task = task(w, json!({}));
    let (_, run, _) = w.plan()[0];
    w.start(run);
    let fast = node(w, "fast", Some(1_250));
    (task, run, slow, fast)
}

/// The only placement of a plan, which must be a duplicate.
fn double(w: &mut World) -> AssignmentId {
    let plan = w.plan();
    assert_eq!(plan.len(), 1, "one duplicate: {plan:?}");
    match &w.log.last().unwrap().event {
        Event::AssignmentLeased(lease) => {
            assert!(lease.doubles.is_some());
            assert_eq!(lease.draw.as_ref().unwrap().purpose, Purpose::Tail);
        }
        other => panic!("{other:?}"),
    }
    plan[0].1
}

fn commit(w: &mut World, assignment: AssignmentId) -> Vec<Event> {
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run)
}

fn balance(w: &World, node: NodeId) -> i64 {
    w.available(w.owner(node))
}

#[test]
fn a_faster_node_overtakes_and_the_slow_run_is_paid_as_an_attempt() {
    let mut w = World::new();
    let (id, _, slow, fast) = slow_run(&mut w);
    w.later(4_999);
    assert!(!w.state.has_tail(w.now) && w.plan().is_empty());
    w.later(1);
    assert!(w.state.has_tail(w.now));
    let duplicate = double(&mut w);
    assert_eq!(w.node_on(duplicate), fast);
    assert!(w.plan().is_empty(), "one duplicate of one run");
    w.start(duplicate);
    let events = commit(&mut w, duplicate);
    assert_eq!(
        labels(&events),
        ["assignment.committed", "task.round_closed",]
    );
    assert_eq!(w.state.tasks[&id].active().count(), 1, "until it is shown");
    w.reveal_all(id, |_| json!({}));
    assert_eq!(w.phase(id), "settled");
    assert_eq!(
        (balance(&w, slow), balance(&w, fast)),
        (ATTEMPT_FEE, 1_000_000)
    );
    assert_eq!(w.state.tasks[&id].attempts_spent, 1);
    assert!(w.state.nodes[&slow].records.is_empty(), "no harm");
    assert_eq!(
        w.available(w.requester),
        1_000_000_000 - 1_050_000 - ATTEMPT_FEE
    );
    w.check_replay();
}

#[test]
fn the_first_result_counts_whoever_brings_it() {
    for has_begun in [true, false] {
        let mut w = World::new();
        let (id, run, slow, fast) = slow_run(&mut w);
        w.later(6_000);
        let duplicate = double(&mut w);
        if has_begun {
            w.start(duplicate);
        }
        commit(&mut w, run);
        w.reveal_all(id, |_| json!({}));
        let fee = if has_begun { ATTEMPT_FEE } else { 0 };
        assert_eq!((balance(&w, slow), balance(&w, fast)), (1_000_000, fee));
        assert_eq!(
            w.refused(Command::Start {
                node: fast,
                assignment: duplicate
            }),
            "lease-ended"
        );
        w.check_replay();
    }
}

#[test]
fn a_run_that_tells_its_pace_is_looked_at_when_it_breaks_its_word() {
    let mut w = World::new();
    let (_, run, ..) = slow_run(&mut w);
    w.later(1_000);
    // At this pace it ends after 8 s, in time.
    w.progress(run, 125_000);
    w.later(6_999);
    assert!(w.plan().is_empty());
    w.later(1);
    double(&mut w);

    let mut w = World::new();
    let (_, run, ..) = slow_run(&mut w);
    w.later(1_000);
    // At this pace it ends after 20 s, which is too late.
    w.progress(run, 50_000);
    double(&mut w);
    w.check_replay();
    documents_agree(&w, "tail-progress");
}

#[test]
fn nothing_is_doubled_without_need_or_gain() {
    // No due time; the last attempt.
    for terms in [json!({"qos": {}}), json!({"retry": {"max_attempts": 1}})] {
        let mut w = World::new();
        node(&mut w, "slow", Some(1_000));
        let id = task(&mut w, terms);
        let (_, run, _) = w.plan()[0];
        w.start(run);
        node(&mut w, "fast", Some(2_000));
        w.later(9_000);
        assert!(!w.state.has_tail(w.now) && w.plan().is_empty());
        assert_eq!(w.phase(id), "running");
    }
}

/// Eight results of a node that show how fast it is; the others are away meanwhile.
fn show(w: &mut World, node: NodeId, mfuel_s: u64) {
    let others: Vec<NodeId> = w
        .state
        .nodes
        .keys()
        .copied()
        .filter(|n| *n != node)
        .collect();
    let set = |w: &mut World, availability| {
        for node in &others {
            let node = *node;
            w.ok(Command::SetAvailability { node, availability });
        }
    };
    set(w, Availability::Offline);
    for _ in 0..8 {
        w.task(json!({}));
        let (_, run, on) = w.plan()[0];
        assert_eq!(on, node);
        w.start(run);
        w.later(21_000);
        let mut run = w.run(run, json!({}), &[]);
        run.report.usage.fuel = Count(mfuel_s * 20_000_000);
        w.commit(&run);
        w.reveal(&run);
    }
    set(w, Availability::Online);
}

#[test]
fn a_duplicate_goes_to_who_showed_speed_and_not_to_who_claims_it() {
    let mut w = World::new();
    let slow = node(&mut w, "slow", Some(1_000));
    show(&mut w, slow, 1_000);
    let id = task(&mut w, json!({}));
    let (_, run, _) = w.plan()[0];
    w.start(run);
    let liar = node(&mut w, "liar", Some(u32::MAX));
    let hardly = node(&mut w, "hardly", Some(5_000));
    let fast = node(&mut w, "fast", Some(5_000));
    w.later(5_000);
    assert!(
        w.state.has_tail(w.now) && w.plan().is_empty(),
        "nobody showed anything"
    );
    for (node, mfuel_s) in [(hardly, 1_249), (fast, 1_250)] {
        // The slow run keeps its slot: what is away loses nothing here.
        show(&mut w, node, mfuel_s);
    }
    let duplicate = double(&mut w);
    assert_eq!(w.node_on(duplicate), fast);
    assert_eq!(w.state.nodes[&liar].active.len(), 0);
    assert_eq!(w.state.tasks[&id].duplicates(), 1);
    w.check_replay();
    documents_agree(&w, "tail-shown");
}

#[test]
fn where_no_speed_is_known_any_node_may_double_but_no_owner_twice() {
    let mut w = World::new();
    let slow = node(&mut w, "slow", None);
    let id = task(&mut w, json!({}));
    let (_, run, _) = w.plan()[0];
    w.start(run);
    let owner = w.owner(slow);
    w.node_of(owner, profile("another of its owner"));
    w.later(9_000);
    assert!(w.plan().is_empty());
    let other = node(&mut w, "other", None);
    let duplicate = double(&mut w);
    assert_eq!(w.node_on(duplicate), other);
    // The one that is left makes the task's only replica.
    let (class, message) = (FailureClass::HostError, "no".into());
    w.ok(Command::Fail {
        node: slow,
        assignment: run,
        class,
        message,
    });
    assert!(w.plan().is_empty());
    w.start(duplicate);
    commit(&mut w, duplicate);
    w.reveal_all(id, |_| json!({}));
    assert_eq!((balance(&w, slow), balance(&w, other)), (0, 1_000_000));
    w.check_replay();
}

/// Two replicas on slow nodes, both doubled and all begun.
fn sampled(w: &mut World) -> (TaskId, Vec<AssignmentId>) {
    let slow: Vec<NodeId> = ["a", "b"].map(|name| node(w, name, Some(500))).into();
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let id = task(
        w,
        json!({"verification": sampling, "qos": {"deadline": w.now.plus_ms(8_000).to_string()}}),
    );
    let mut runs: Vec<AssignmentId> = w.plan().iter().map(|(_, run, _)| *run).collect();
    assert_eq!(runs.len(), slow.len());
    runs.iter().for_each(|run| w.start(*run));
    for name in ["c", "d", "e"] {
        node(w, name, Some(2_000));
    }
    w.later(4_000);
    for _ in 0..2 {
        let duplicate = double(w);
        w.start(duplicate);
        runs.push(duplicate);
    }
    assert!(w.plan().is_empty());
    (id, runs)
}

#[test]
fn of_a_sample_the_first_as_many_as_wanted_count() {
    let mut w = World::new();
    let (id, runs) = sampled(&mut w);
    // The first result of a replica calls its double off, and is not two votes.
    assert_eq!(
        labels(&commit(&mut w, runs[3])),
        ["assignment.committed", "assignment.withdrawn"]
    );
    let doubled = w.state.assignment(runs[3]).unwrap().1.doubles.unwrap();
    let late = w.run(doubled, json!({}), &[]);
    assert_eq!(w.refused(w.commit_command(&late)), "lease-ended");
    assert_eq!((w.phase(id), w.state.tasks[&id].missing()), ("running", 0));
    let other = usize::from(runs[0] == doubled);
    let events = commit(&mut w, runs[other]);
    assert_eq!(
        labels(&events),
        [
            "assignment.committed",
            "task.round_closed",
            "assignment.withdrawn"
        ]
    );
    w.reveal_all(id, |_| json!({}));
    assert_eq!(w.phase(id), "settled");
    let paid = |run: AssignmentId| balance(&w, w.node_on(run));
    assert_eq!([runs[3], runs[other]].map(paid), [1_000_000; 2]);
    assert_eq!([doubled, runs[2]].map(paid), [ATTEMPT_FEE; 2]);
    w.check_replay();
    documents_agree(&w, "tail-sampled");
}

/// Speed would be a way into a sample, and claims of it cost nothing.
#[test]
fn duplicates_in_a_sample_are_drawn_among_all_nodes() {
    let mut w = World::new();
    for name in ["a", "b"] {
        node(&mut w, name, Some(500));
    }
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    task(&mut w, json!({"verification": sampling}));
    for (_, run, _) in w.plan() {
        w.start(run);
    }
    for name in ["c", "d", "e"] {
        node(&mut w, name, Some(1));
    }
    for name in ["liar", "another"] {
        node(&mut w, name, Some(u32::MAX));
    }
    w.later(5_000);
    double(&mut w);
    match &w.log.last().unwrap().event {
        Event::AssignmentLeased(lease) => assert_eq!(lease.draw.as_ref().unwrap().candidates, 5),
        other => panic!("{other:?}"),
    }
    w.check_replay();
}

/// A duplicate keeps an attempt for the case that it is overtaken, so that the escrow pays it whatever else is lost.
#[test]
fn an_attempt_is_kept_for_each_duplicate() {
    let mut w = World::new();
    let (id, runs) = sampled(&mut w);
    let doubled = |run: AssignmentId| w.state.assignment(run).unwrap().1.doubles;
    let pair = [runs[2], doubled(runs[2]).unwrap()];
    let task = &w.state.tasks[&id];
    assert_eq!(
        (task.attempts_spent, task.duplicates(), task.missing()),
        (0, 2, 0)
    );
    for (n, assignment) in pair.into_iter().enumerate() {
        let node = w.node_on(assignment);
        let (class, message) = (FailureClass::HostError, "disk".into());
        w.ok(Command::Fail {
            node,
            assignment,
            class,
            message,
        });
        let phase = if n == 0 { "running" } else { "failed" };
        assert_eq!(
            w.phase(id),
            phase,
            "one of three is kept for the other duplicate"
        );
    }
    w.check_replay();
    documents_agree(&w, "tail-kept");
}

#[test]
fn called_off_the_price_is_paid_as_often_as_it_was_wanted() {
    let mut w = World::new();
    let (id, runs) = sampled(&mut w);
    let mate = w.state.assignment(runs[2]).unwrap().1.doubles.unwrap();
    commit(&mut w, runs[2]);
    // A tenth of the ten minutes that a run may take, since the first two began.
    w.later(56_000);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task: id,
    });
    let paid = |run: AssignmentId| balance(&w, w.node_on(run));
    assert_eq!(
        paid(runs[2]),
        ATTEMPT_FEE,
        "sealed comes first, and took no time"
    );
    assert_eq!(paid(mate), ATTEMPT_FEE, "overtaken");
    let other = [runs[0], runs[1]]
        .into_iter()
        .find(|run| *run != mate)
        .unwrap();
    assert_eq!(paid(other), 100_000, "the older of the other two, by time");
    assert_eq!(paid(runs[3]), ATTEMPT_FEE, "more than was wanted");
    w.check_replay();
    documents_agree(&w, "tail-cancelled");
}

#[test]
fn an_audit_finds_a_duplicate_that_nothing_calls_for() {
    let mut w = World::new();
    let (..) = slow_run(&mut w);
    w.later(5_000);
    double(&mut w);
    recompute(&w.log).unwrap();
    let mut log = w.log.clone();
    let last = log.last_mut().unwrap();
    // A millisecond too early.
    last.time = last.time.plus_ms(-1);
    assert!(recompute(&log).is_err());
    let mut log = w.log.clone();
    if let Event::AssignmentLeased(lease) = &mut log.last_mut().unwrap().event {
        lease.doubles = None;
    }
    assert!(recompute(&log).is_err());
}
