//! A node shows whether its GPU is of the class that it claims.

use aevir_platform::{
    command::{Command, ComputeCheck, NodeProfile},
    digest::Digest,
    event::{ComputeOutcome, Event},
    hexbytes::Hex,
    ids::{NodeId, TaskId},
    policy::Policy,
    schedule::Refused,
};
use serde_json::json;

use crate::{
    nodes::why,
    sample::documents_agree,
    world::{World, labels, profile, recompute},
};
use ComputeOutcome::{Shown, Silent, Wrong};

/// What a check of a class came to.
pub fn checked(node: NodeId, class: u8, elapsed_ms: u32, outcome: ComputeOutcome) -> Command {
    Command::CheckCompute(ComputeCheck {
        node,
        class,
        elapsed_ms,
        outcome,
        seed: Hex([7; 32]),
        root: (outcome != Silent).then(|| Digest::of(b"values")),
    })
}

/// A machine that claims a class.
fn claiming(class: Option<u8>) -> NodeProfile {
    let mut profile = profile("a");
    if let Some(gpu) = &mut profile.gpu {
        gpu.compute = class;
    }
    profile
}

fn task_for(w: &mut World, class: u8) -> TaskId {
    w.task(json!({"qos": {"gpu": {"min_compute": class}}}))
}

fn a_node(claimed: Option<u8>) -> (World, NodeId) {
    let mut w = World::new();
    let owner = w.account("an owner");
    let node = w.node_of(owner, claiming(claimed));
    (w, node)
}

#[test]
fn a_node_gets_tasks_of_the_class_that_it_shows() {
    let (mut w, node) = a_node(Some(5));
    // It takes sixteen times as long as at the lower bound: that is class 3, and 4 is let pass.
    assert_eq!(
        labels(&w.ok(checked(node, 5, 34_000, Shown))),
        ["node.compute_checked"]
    );
    let (of_five, of_four) = (task_for(&mut w, 5), task_for(&mut w, 4));
    assert_eq!(why(&w, of_five, node), Some(Refused::GpuSpeed));
    assert_eq!(why(&w, of_four, node), None);
    let placed: Vec<TaskId> = w.plan().iter().map(|(task, ..)| *task).collect();
    assert_eq!(placed, [of_four]);
    documents_agree(&w, "compute-shown");
    w.check_replay();
}

#[test]
fn what_it_claims_counts_until_the_first_check_and_never_more() {
    let (mut w, node) = a_node(Some(5));
    let task = task_for(&mut w, 6);
    assert_eq!(why(&w, task, node), Some(Refused::GpuSpeed));
    w.ok(checked(node, 5, 1, Shown));
    assert_eq!(why(&w, task, node), Some(Refused::GpuSpeed), "it claims 5");
    let task = task_for(&mut w, 5);
    assert_eq!(why(&w, task, node), None);
    // What it showed counts for whatever it claims then.
    for (claimed, refused) in [(Some(9), None), (None, Some(Refused::GpuSpeed))] {
        let profile = Box::new(claiming(claimed));
        w.ok(Command::ChangeProfile { node, profile });
        assert_eq!(why(&w, task, node), refused);
    }
    w.check_replay();
}

#[test]
fn after_a_wrong_answer_nothing_counts_until_a_right_one() {
    let (mut w, node) = a_node(Some(3));
    w.ok(checked(node, 3, 2_000, Shown));
    w.ok(checked(node, 3, 2_000, Wrong));
    let anything = task_for(&mut w, 0);
    let without = w.task(json!({"qos": {"gpu": {}}}));
    assert_eq!(why(&w, anything, node), Some(Refused::GpuSpeed));
    assert_eq!(
        why(&w, without, node),
        None,
        "its results are compared all the same"
    );
    w.ok(checked(node, 3, 120_000, Silent));
    assert_eq!(why(&w, anything, node), Some(Refused::GpuSpeed));
    w.ok(checked(node, 3, 2_000, Shown));
    assert_eq!(why(&w, anything, node), None);
    documents_agree(&w, "compute-wrong");
    w.check_replay();
}

#[test]
fn silence_shows_nothing() {
    let (mut w, node) = a_node(Some(3));
    w.ok(checked(node, 3, 120_000, Silent));
    let (slow, fast) = (task_for(&mut w, 0), task_for(&mut w, 1));
    assert_eq!(why(&w, slow, node), None);
    assert_eq!(why(&w, fast, node), Some(Refused::GpuSpeed));
    w.check_replay();
}

#[test]
fn a_check_is_what_it_must_be_and_a_day_has_so_many() {
    let (mut w, node) = a_node(Some(3));
    let rootless = Command::CheckCompute(ComputeCheck {
        node,
        class: 3,
        elapsed_ms: 1,
        outcome: Shown,
        seed: Hex([7; 32]),
        root: None,
    });
    for (command, refused) in [
        (checked(node, 0, 1, Shown), "compute-check-invalid"),
        (checked(node, 11, 1, Shown), "compute-check-invalid"),
        (checked(node, 3, 120_001, Shown), "compute-check-invalid"),
        (checked(node, 3, 120_001, Wrong), "compute-check-invalid"),
        (rootless, "compute-check-invalid"),
        (checked(NodeId(ulid::Ulid(1)), 3, 1, Shown), "unknown-node"),
    ] {
        assert_eq!(w.refused(command), refused);
    }
    // The next day begins in less than two hours. The claim's own check is none of the sixteen that are drawn.
    for _ in 0..=16 {
        w.ok(checked(node, 3, 120_001, Silent));
    }
    assert_eq!(
        w.refused(checked(node, 3, 1, Shown)),
        "too-many-compute-checks"
    );
    w.ok(checked(node, 4, 1, Shown));
    w.later(7_200_000);
    w.ok(checked(node, 3, 1, Shown));
    let mut bare = claiming(None);
    bare.gpu = None;
    let profile = Box::new(bare);
    w.ok(Command::ChangeProfile { node, profile });
    // It was asked before, and what it claims again counts as far as it was shown.
    w.ok(checked(node, 3, 120_001, Silent));
    let mut off = Policy::default();
    off.scheduling.compute.check_ms = 0;
    w.ok(Command::AdoptPolicy(off));
    let profile = Box::new(claiming(Some(3)));
    w.ok(Command::ChangeProfile { node, profile });
    assert_eq!(
        w.refused(checked(node, 3, 1, Shown)),
        "too-many-compute-checks"
    );
    w.check_replay();
}

#[test]
fn an_audit_finds_work_that_no_check_has() {
    let (mut w, node) = a_node(Some(3));
    w.ok(checked(node, 3, 2_000, Shown));
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!(counts.compute_checks_taken, 1);
    let at = w.log.len() - 1;
    let mut altered = w.log.clone();
    if let Event::ComputeChecked(checked) = &mut altered[at].event {
        checked.flops.0 += 1;
    }
    assert_eq!(recompute(&altered).unwrap_err().position, at as u64);
    // Nobody but the platform gives it.
    altered = w.log;
    altered[at].actor = format!("node/{node}");
    assert_eq!(recompute(&altered).unwrap_err().position, at as u64);
}
