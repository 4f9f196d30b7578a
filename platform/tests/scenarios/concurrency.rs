//! How many runs at once a node is given: few before it has shown anything, more with what it finishes, fewer with what it loses.

use aevir_platform::{
    command::{Command, LossReason, NodeProfile},
    ids::{AssignmentId, NodeId},
};
use serde_json::json;

use crate::world::{World, immediate, profile};

const SLOTS: u32 = 16;

/// A market in which newcomers get two runs, and a node of one that offers 16.
fn market() -> (World, NodeId) {
    let mut policy = immediate();
    policy.scheduling.unproven_slots = 2;
    let mut w = World::with_policy(policy);
    let owner = w.account("owner");
    let wide = NodeProfile {
        slots: SLOTS,
        cpu_cores: SLOTS,
        memory_mib: 256 * SLOTS,
        storage_mib: 1_024 * SLOTS,
        ..profile("wide")
    };
    let node = w.node_of(owner, wide);
    for _ in 0..60 {
        w.task(json!({}));
    }
    (w, node)
}

/// All of them begin, and then end.
fn finish(w: &mut World, runs: &[AssignmentId]) {
    runs.iter().for_each(|run| w.start(*run));
    for run in runs {
        let run = w.run(*run, json!({}), &[]);
        w.commit(&run);
        w.reveal(&run);
    }
}

fn planned(w: &mut World) -> Vec<AssignmentId> {
    w.plan().into_iter().map(|(_, run, _)| run).collect()
}

#[test]
fn it_doubles_with_each_generation_of_runs_up_to_what_the_node_offers() {
    let (mut w, node) = market();
    let mut generations = Vec::new();
    for _ in 0..5 {
        let runs = planned(&mut w);
        generations.push(runs.len());
        finish(&mut w, &runs);
    }
    assert_eq!(generations, [2, 4, 8, 16, 16]);
    assert_eq!(w.state.nodes[&node].concurrency, SLOTS);
    w.check_replay();
}

#[test]
fn a_node_that_runs_few_at_once_has_shown_nothing_about_many() {
    let (mut w, node) = market();
    let runs = planned(&mut w);
    finish(&mut w, &runs);
    let runs = planned(&mut w);
    finish(&mut w, &runs);
    assert_eq!(w.state.nodes[&node].slots(), 8);
    let waiting: Vec<_> = w
        .state
        .tasks
        .values()
        .map(|t| (t.id, t.phase.is_final()))
        .collect();
    for (task, _) in waiting.into_iter().filter(|(_, ended)| !ended) {
        let requester = w.requester;
        w.ok(Command::CancelTask { requester, task });
    }
    for _ in 0..20 {
        w.task(json!({}));
        let runs = planned(&mut w);
        assert_eq!(runs.len(), 1);
        finish(&mut w, &runs[..1]);
    }
    assert_eq!(w.state.nodes[&node].slots(), 8, "one at a time");
}

#[test]
fn each_lost_lease_halves_it_and_newcomers_share_is_left() {
    let (mut w, node) = market();
    for _ in 0..3 {
        let runs = planned(&mut w);
        finish(&mut w, &runs);
    }
    let runs = planned(&mut w);
    assert_eq!(runs.len(), 16);
    let mut left = Vec::new();
    for assignment in runs.iter().take(5).copied() {
        let reason = LossReason::NotStarted;
        w.ok(Command::LoseLease { assignment, reason });
        left.push(w.state.nodes[&node].slots());
    }
    assert_eq!(left, [8, 4, 2, 2, 2]);
    // What it holds beyond that it may finish; it gets nothing new before.
    let availability = aevir_platform::command::Availability::Online;
    w.ok(Command::SetAvailability { node, availability });
    w.later(600_000);
    assert!(w.state.nodes[&node].free_slots() == 0 && w.plan().is_empty());
    finish(&mut w, &runs[5..]);
    assert!(w.state.nodes[&node].slots() > 2);
    w.check_replay();
}

#[test]
fn a_failure_or_a_return_says_nothing_about_it() {
    let (mut w, node) = market();
    let runs = planned(&mut w);
    finish(&mut w, &runs[..1]);
    assert_eq!(w.state.nodes[&node].slots(), 3);
    w.start(runs[1]);
    w.ok(Command::GiveBack {
        node,
        assignment: runs[1],
    });
    assert_eq!(w.state.nodes[&node].slots(), 3);
}

#[test]
fn who_keeps_a_sealed_result_loses_half_too() {
    let (mut w, node) = market();
    let runs = planned(&mut w);
    finish(&mut w, &runs);
    let runs = planned(&mut w);
    w.start(runs[0]);
    let run = w.run(runs[0], json!({}), &[]);
    w.commit(&run);
    w.later(60_000);
    w.ok(Command::Tick);
    assert_eq!(w.state.assignment(runs[0]).unwrap().1.state_name(), "lost");
    assert_eq!(w.state.nodes[&node].slots(), 2);
}

/// The one-owner market takes what nodes say for true.
#[test]
fn a_private_market_gives_all_slots_at_once() {
    let policy = aevir_platform::policy::Policy::private();
    let mut w = World::with_policy(policy);
    let wide = NodeProfile {
        slots: SLOTS,
        cpu_cores: SLOTS,
        memory_mib: 256 * SLOTS,
        storage_mib: 1_024 * SLOTS,
        ..profile("wide")
    };
    let owner = w.requester;
    let node = w.node_of(owner, wide);
    for _ in 0..20 {
        w.task(json!({}));
    }
    assert_eq!(w.plan().len(), SLOTS as usize);
    assert_eq!(w.state.nodes[&node].slots(), SLOTS);
}
