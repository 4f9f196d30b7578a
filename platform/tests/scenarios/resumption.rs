//! Where a run goes on from, and who is to blame where it can't.

use aevir_platform::{
    amount::Count,
    command::{Command, FailureClass, LossReason},
    digest::Digest,
    ids::{AssignmentId, NodeId},
    policy::{Market, Policy},
    report::BlobRef,
};
use serde_json::json;

use crate::{sample::documents_agree, world::World};

fn blob(name: &str) -> BlobRef {
    BlobRef {
        digest: Digest::of(name.as_bytes()),
        size: Count(4),
    }
}

fn save(w: &mut World, assignment: AssignmentId, ppm: u32, name: &str) {
    let node = w.node_on(assignment);
    if ppm > 0 {
        w.progress(assignment, ppm);
    }
    let checkpoint = blob(name);
    w.ok(Command::SaveCheckpoint {
        node,
        assignment,
        checkpoint,
    });
}

fn fail(w: &mut World, assignment: AssignmentId, class: FailureClass) {
    let node = w.node_on(assignment);
    let message = "no".into();
    w.ok(Command::Fail {
        node,
        assignment,
        class,
        message,
    });
}

fn lose(w: &mut World, assignment: AssignmentId) {
    let reason = LossReason::Silent;
    w.ok(Command::LoseLease { assignment, reason });
}

/// The next run, begun, and what it goes on from.
fn next(w: &mut World) -> (AssignmentId, Option<BlobRef>) {
    let run = w.plan()[0].1;
    w.start(run);
    (run, w.state.assignment(run).unwrap().1.resume)
}

fn bad(w: &World, node: NodeId) -> u64 {
    w.outcomes(node).1
}

#[test]
fn a_run_that_failed_from_a_checkpoint_is_followed_by_one_from_before_it() {
    let mut w = World::new();
    for name in ["a", "b", "c", "d", "e"] {
        w.node(name);
    }
    let task = w.task(json!({"retry": {"max_attempts": 6}}));
    let (first, _) = next(&mut w);
    save(&mut w, first, 300_000, "good");
    lose(&mut w, first);
    let (evil, from) = next(&mut w);
    assert_eq!(from, Some(blob("good")));
    save(&mut w, evil, 500_000, "bad");
    lose(&mut w, evil);
    let (victim, from) = next(&mut w);
    assert_eq!(from, Some(blob("bad")));
    save(&mut w, victim, 600_000, "worse");
    fail(&mut w, victim, FailureClass::Trap);
    // What it saved and what it began from are gone; nobody is blamed before somebody gets on.
    let before = bad(&w, w.node_on(evil));
    let (last, from) = next(&mut w);
    assert_eq!(from, Some(blob("good")));
    let run = w.run(last, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    let author = w.node_on(evil);
    let owed = 1_000 * u64::from(author != w.node_on(last));
    assert_eq!(bad(&w, author), before + owed);
    w.check_replay();
    documents_agree(&w, "bad-checkpoint");
}

#[test]
fn the_last_attempt_begins_at_zero_where_one_failed() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let task = w.task(json!({}));
    let (first, _) = next(&mut w);
    save(&mut w, first, 100_000, "one");
    save(&mut w, first, 200_000, "two");
    assert_eq!(w.state.tasks[&task].checkpoints.len(), 1, "one of each run");
    lose(&mut w, first);
    let (second, from) = next(&mut w);
    assert_eq!(from, Some(blob("two")));
    fail(&mut w, second, FailureClass::GuestError);
    let (_, from) = next(&mut w);
    assert_eq!(from, None);
    w.check_replay();
    documents_agree(&w, "last-attempt");
}

#[test]
fn what_is_less_far_takes_no_place() {
    let mut w = World::new();
    w.node("a");
    w.task(json!({"qos": {"max_latency_ms": 10_000}}));
    let (first, _) = next(&mut w);
    save(&mut w, first, 900_000, "far");
    w.node("b");
    w.later(9_000);
    let duplicate = w.plan()[0].1;
    w.start(duplicate);
    assert_eq!(
        w.state.assignment(duplicate).unwrap().1.resume,
        Some(blob("far"))
    );
    // It tells nothing: it is as far as it began, and what it saves is newer.
    save(&mut w, duplicate, 0, "newer");
    lose(&mut w, first);
    lose(&mut w, duplicate);
    w.node("c");
    assert_eq!(next(&mut w).1, Some(blob("newer")));
    w.check_replay();

    let mut w = World::new();
    w.node("a");
    w.task(json!({"qos": {"max_latency_ms": 10_000}}));
    let (first, _) = next(&mut w);
    w.node("b");
    w.later(9_000);
    let duplicate = w.plan()[0].1;
    w.start(duplicate);
    save(&mut w, first, 900_000, "far");
    save(&mut w, duplicate, 100_000, "near");
    lose(&mut w, first);
    lose(&mut w, duplicate);
    w.node("c");
    assert_eq!(next(&mut w).1, Some(blob("far")));
    w.check_replay();
    documents_agree(&w, "far-checkpoint");
}

#[test]
fn a_node_that_failed_for_its_own_sake_may_try_again() {
    let mut w = World::with_policy(Policy {
        market: Market::Private,
        ..Policy::default()
    });
    let node = w.node_of(w.requester, crate::world::profile("only"));
    let task = w.task(json!({}));
    let (run, _) = next(&mut w);
    fail(&mut w, run, FailureClass::HostError);
    assert!(w.plan().is_empty());
    let why = |w: &World| {
        let why = aevir_platform::schedule::why(&w.state, &w.state.tasks[&task], w.now);
        why.refused.keys().next().map(|refused| refused.code())
    };
    assert_eq!(why(&w), Some("backing-off"));
    w.later(5_000);
    let (run, _) = next(&mut w);
    assert_eq!(w.node_on(run), node);
    // What it says of the module another node has to confirm.
    fail(&mut w, run, FailureClass::Trap);
    w.later(600_000);
    assert!(w.plan().is_empty());
    assert_eq!(why(&w), Some("already-tried"));
    w.check_replay();
    documents_agree(&w, "again");
}
