//! Nodes that stop give their runs back: for nothing as far as the policy goes, and like failures beyond.

use aevir_platform::{
    amount::Count,
    command::{Availability, Command},
    digest::Digest,
    event::Event,
    ids::{AssignmentId, NodeId},
    policy::Policy,
    report::BlobRef,
};
use serde_json::json;

use crate::{
    sample::documents_agree,
    world::{World, labels, profile},
};

fn with(per_task: u32, per_slot: u32) -> World {
    let mut policy = Policy::default();
    policy.scheduling.returns.per_task = per_task;
    policy.scheduling.returns.per_slot = per_slot;
    World::with_policy(policy)
}

/// The one free node takes the task, and begins.
fn begun(w: &mut World) -> (AssignmentId, NodeId) {
    let (_, assignment, node) = w.plan()[0];
    w.start(assignment);
    (assignment, node)
}

fn give_back(w: &mut World, assignment: AssignmentId) -> Vec<Event> {
    let node = w.node_on(assignment);
    w.ok(Command::GiveBack { node, assignment })
}

/// Whether what came of a return says that it counts.
fn counted(events: &[Event]) -> bool {
    match &events[0] {
        Event::AssignmentReturned(e) => e.counted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_is_given_back_costs_nothing_and_goes_on_elsewhere() {
    let mut w = World::new();
    let node = w.node("stopping");
    let task = w.task(json!({"retry": {"max_attempts": 1}}));
    let (assignment, _) = begun(&mut w);
    let checkpoint = BlobRef {
        digest: Digest::of(b"checkpoint"),
        size: Count(10),
    };
    w.ok(Command::SaveCheckpoint {
        node,
        assignment,
        checkpoint,
    });
    let before = w.state.requesters[&w.requester].used;
    w.later(1_000);
    let events = give_back(&mut w, assignment);
    assert_eq!(
        labels(&events),
        ["assignment.returned", "node.availability_changed"]
    );
    assert!(!counted(&events));
    assert_eq!(w.phase(task), "queued");
    assert_eq!(w.state.tasks[&task].attempts_spent, 0);
    assert_eq!(w.outcomes(node), (0, 0));
    assert!(w.state.nodes[&node].active.is_empty());
    assert!(
        w.state.requesters[&w.requester].used < before,
        "its time comes back"
    );
    assert_eq!(w.plan(), [], "the node is gone until it is heard from");
    // It may be the one that goes on with it.
    w.heard_from(node);
    let (again, by) = begun(&mut w);
    let (_, resumed) = w.state.assignment(again).unwrap();
    assert_eq!(
        (by, resumed.resume, resumed.author),
        (node, Some(checkpoint), Some(node))
    );
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    let command = Command::GiveBack { node, assignment };
    assert_eq!(w.refused(command), "lease-ended");
    w.check_replay();
    documents_agree(&w, "returned");
}

#[test]
fn a_lease_that_was_not_begun_can_be_given_back_and_a_sealed_result_can_not() {
    let mut w = World::new();
    let node = w.node("a");
    w.task(json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": 2}]}));
    let (_, assignment, _) = w.plan()[0];
    assert!(!counted(&give_back(&mut w, assignment)));
    w.heard_from(node);
    let (assignment, _) = begun(&mut w);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    let command = Command::GiveBack { node, assignment };
    assert_eq!(w.refused(command), "lease-ended");
    let other = w.node("b");
    let command = Command::GiveBack {
        node: other,
        assignment,
    };
    assert_eq!(w.refused(command), "unknown-assignment");
}

#[test]
fn beyond_what_a_task_gives_for_free_returns_count() {
    let mut w = with(1, 10);
    let node = w.node("a");
    let task = w.task(json!({"retry": {"max_attempts": 2}}));
    for (n, is_counted) in [false, true].into_iter().enumerate() {
        let (assignment, _) = begun(&mut w);
        assert_eq!(counted(&give_back(&mut w, assignment)), is_counted, "{n}");
        w.heard_from(node);
    }
    assert_eq!(w.state.tasks[&task].attempts_spent, 1);
    assert_eq!(w.outcomes(node), (0, 1_000));
    let kind = w.state.tasks[&task].definition.kind;
    assert!(w.state.nodes[&node].backoff_until(kind) > w.now);
    w.later(60_000);
    let (assignment, _) = begun(&mut w);
    let before = w.available(w.requester);
    let events = give_back(&mut w, assignment);
    assert_eq!(
        labels(&events),
        [
            "assignment.returned",
            "ledger.posted",
            "task.closed",
            "node.availability_changed"
        ]
    );
    assert_eq!(w.phase(task), "failed");
    assert!(w.available(w.requester) > before, "nobody is paid");
    assert_eq!(w.available(w.owner(node)), 0);
    w.check_replay();
    documents_agree(&w, "counted");
}

#[test]
fn a_node_has_so_many_returns_an_epoch_for_each_of_its_slots() {
    let mut w = with(100, 1);
    let owner = w.account("owner");
    let mut two = profile("two");
    two.slots = 2;
    let node = w.node_of(owner, two);
    let once = |w: &mut World| {
        w.later(600_000);
        w.task(json!({}));
        let (assignment, _) = begun(w);
        let is_counted = counted(&give_back(w, assignment));
        w.heard_from(node);
        is_counted
    };
    assert_eq!([0; 3].map(|_| once(&mut w)), [false, false, true]);
    // The next epoch.
    w.later(3_600_000);
    w.ok(Command::Tick);
    assert_eq!([0; 3].map(|_| once(&mut w)), [false, false, true]);
    w.check_replay();
    documents_agree(&w, "slots");
}

#[test]
fn what_a_returned_duplicate_was_for_goes_on_as_a_plain_replica() {
    let mut w = World::new();
    let slow = w.node("slow");
    let task = w.task(json!({"qos": {"max_latency_ms": 10_000}}));
    let (first, _) = begun(&mut w);
    w.later(6_000);
    let owner = w.account("of the fast one");
    let mut fast = profile("fast");
    fast.cpu_mfuel_s = Some(8_000);
    w.node_of(owner, fast);
    let (duplicate, _) = begun(&mut w);
    assert!(!counted(&give_back(&mut w, duplicate)));
    assert_eq!(w.state.tasks[&task].attempts_spent, 0);
    let run = w.run(first, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    assert!(w.available(w.owner(slow)) > 0);
    w.check_replay();
}

#[test]
fn a_node_that_says_so_twice_is_offline_once() {
    let mut w = World::new();
    let node = w.node("a");
    w.task(json!({}));
    let (assignment, _) = begun(&mut w);
    let availability = Availability::Offline;
    w.ok(Command::SetAvailability { node, availability });
    assert_eq!(
        labels(&give_back(&mut w, assignment)),
        ["assignment.returned"]
    );
}

#[test]
fn a_policy_bounds_what_is_free() {
    let mut w = World::new();
    let mut policy = Policy::default();
    policy.scheduling.returns.per_task = 101;
    assert_eq!(
        w.refused(Command::AdoptPolicy(policy.clone())),
        "policy-invalid"
    );
    policy.scheduling.returns.per_task = 0;
    w.ok(Command::AdoptPolicy(policy));
    w.node("a");
    w.task(json!({}));
    let (assignment, _) = begun(&mut w);
    assert!(counted(&give_back(&mut w, assignment)), "nothing is free");
}
