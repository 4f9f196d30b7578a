//! A module is compiled once when it is uploaded: that a node can't compile it is nobody's fault, and the node gets nothing of it for a while.

use aevir_platform::{
    command::{Command, FailureClass},
    digest::Digest,
    event::Event,
    ids::{AssignmentId, NodeId, TaskId},
    schedule::{Refused, refusal, why},
    state::NOT_COMPILED_MS,
};
use serde_json::json;

use crate::{sample::documents_agree, world::World};

fn heavy() -> Digest {
    Digest::of(b"heavy")
}

/// A world with a heavy module beside the usual one.
fn world() -> World {
    let mut w = World::new();
    w.push(w.requester, heavy(), 512);
    w
}

fn task(w: &mut World) -> TaskId {
    w.task(json!({"module": heavy().to_string()}))
}

fn fail(w: &mut World, node: NodeId, assignment: AssignmentId) {
    w.ok(Command::Fail {
        node,
        assignment,
        class: FailureClass::NotCompiled,
        message: "compile-time".into(),
    });
}

fn refused(w: &World, task: TaskId, node: NodeId) -> Option<Refused> {
    let (task, node) = (&w.state.tasks[&task], &w.state.nodes[&node]);
    refusal(&w.state, task, node, w.now)
}

#[test]
fn it_counts_against_nobody_and_bars_the_module_alone() {
    let mut w = world();
    let slow = w.node("slow");
    let first = task(&mut w);
    let [(_, assignment, _)] = w.plan()[..] else {
        panic!()
    };
    fail(&mut w, slow, assignment);
    // Another task of it waits for another node; one of another module does not.
    let second = task(&mut w);
    assert_eq!(refused(&w, second, slow), Some(Refused::NotCompiled));
    assert_eq!(w.plan(), []);
    let nearest = why(&w.state, &w.state.tasks[&second], w.now).nearest;
    let nearest = nearest.unwrap();
    assert_eq!(nearest[0].reason, Refused::NotCompiled);
    let other = w.task(json!({}));
    assert_eq!(refused(&w, other, slow), None, "it does not back off");
    w.finish(other, |_| json!({}));
    assert_eq!(w.phase(other), "settled");
    assert_eq!(w.outcomes(slow).1, 0);
    // Somebody manages: that shows nothing of the one who could not.
    w.node("fast");
    w.finish(first, |_| json!({}));
    assert_eq!(w.phase(first), "settled");
    assert_eq!(w.outcomes(slow).1, 0);
    w.finish(second, |_| json!({}));
    documents_agree(&w, "not-compiled");
    w.check_replay();
}

#[test]
fn it_may_try_again_a_day_later_but_not_at_the_same_task() {
    let mut w = world();
    let slow = w.node("slow");
    let first = task(&mut w);
    let assignment = w.plan()[0].1;
    fail(&mut w, slow, assignment);
    assert_eq!(w.phase(first), "queued");
    let second = task(&mut w);
    w.later(NOT_COMPILED_MS - 1);
    assert_eq!(refused(&w, second, slow), Some(Refused::NotCompiled));
    w.later(1);
    assert_eq!(refused(&w, second, slow), None);
    assert_eq!(refused(&w, first, slow), Some(Refused::AlreadyTried));
    let placed = w.plan();
    assert_eq!((placed.len(), placed[0].0), (1, second));
    documents_agree(&w, "not-compiled-again");
    w.check_replay();
}

#[test]
fn each_time_spends_an_attempt() {
    let mut w = world();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let id = w.task(json!({"module": heavy().to_string(), "retry": {"max_attempts": 2}}));
    for _ in 0..2 {
        let (_, assignment, node) = w.plan()[0];
        fail(&mut w, node, assignment);
    }
    assert_eq!(w.phase(id), "failed");
    assert!(w.state.nodes.values().all(|n| w.outcomes(n.id).1 == 0));
    documents_agree(&w, "not-compiled-attempts");
    w.check_replay();
}

/// Whoever has begun the run has compiled the module.
#[test]
fn what_has_begun_was_compiled() {
    let mut w = world();
    let node = w.node("a");
    let id = task(&mut w);
    let assignment = w.plan()[0].1;
    w.start(assignment);
    fail(&mut w, node, assignment);
    let Some(Event::AssignmentFailed(failed)) = w
        .log
        .iter()
        .rev()
        .map(|e| &e.event)
        .find(|e| matches!(e, Event::AssignmentFailed(_)))
    else {
        panic!()
    };
    assert_eq!(failed.class, FailureClass::HostError);
    assert_eq!(refused(&w, id, node), Some(Refused::BackingOff));
    w.check_replay();
}
