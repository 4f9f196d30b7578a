//! Who may doubt a verdict, and what a doubt costs whom where nobody looks into it.

use aevir_platform::{
    amount::Amount,
    command::{Command, LossReason, Subject},
    event::{RefusalReason, ReviewOutcome},
    ids::{NodeId, TaskId},
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, policy, staked},
    contents::{Offer, offered, using},
    reviews::{AEV, FRESH, alone, dispute, finished, only, outcome, review, truth, world},
    world::{World, profile},
};

const DAY_MS: i64 = 86_400_000;

/// A sample that asks for no stake, of which the second node's result is refused.
fn outvoted(w: &mut World, nodes: &[NodeId]) -> TaskId {
    let sampled =
        json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3, "unstaked": true}]);
    let task = w.task(json!({"verification": sampled}));
    w.finish(
        task,
        |node| json!({"n": if node == nodes[1] { "lie" } else { "truth" }}),
    );
    assert_eq!(w.phase(task), "settled");
    task
}

#[test]
fn a_dispute_that_no_other_owners_could_run_is_refused_at_once() {
    let (mut w, nodes) = world(policy(NEVER), 3);
    let requester = w.requester;
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    let drain = |w: &mut World, node| drop(w.ok(Command::DrainNode { node }));
    drain(&mut w, nodes[2]);
    let before = w.available(requester);
    let refused = |w: &mut World| w.refused(dispute(requester, task, FRESH));
    assert_eq!(refused(&mut w), "no-reviewers");
    // Nodes of the same owners, and the requester's own, would not be drawn; one without stake has no say.
    for owner in [w.owner(nodes[0]), w.owner(nodes[1]), requester] {
        w.node_of(owner, profile("another"));
    }
    w.node("without stake");
    assert_eq!(refused(&mut w), "no-reviewers");
    assert_eq!(w.available(requester), before);
    // Whoever is busy counts, for he will be idle.
    w.ok(Command::ResumeNode { node: nodes[2] });
    only(&mut w, nodes[2], &nodes, |w| {
        let busy = w.task(json!({}));
        while w.state.tasks[&busy].active().next().is_none() {
            w.plan();
        }
    });
    w.ok(dispute(requester, task, FRESH));
    w.check_replay();
}

/// Results that nobody needed stake for: what looks at them again does.
#[test]
fn a_sample_without_stake_waits_for_nobody_who_has_some() {
    let mut w = World::with_policy(policy(NEVER));
    let nodes = ["a", "b", "c", "d", "e"].map(|name| w.node(name));
    for node in &nodes[3..] {
        w.ok(Command::DrainNode { node: *node });
    }
    let task = outvoted(&mut w, &nodes);
    for node in &nodes[3..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    let liar = w.owner(nodes[1]);
    w.deposit(liar, 5 * AEV);
    let doubt = || dispute(liar, task, FRESH);
    assert_eq!(w.refused(doubt()), "no-reviewers");
    staked(&mut w, "f");
    assert_eq!(w.refused(doubt()), "no-reviewers");
    staked(&mut w, "g");
    w.ok(doubt());
    w.check_replay();
}

/// Nobody has anything to lose but who paid for the result, and who was outvoted.
#[test]
fn who_is_paid_by_a_verdict_and_who_kept_his_result_back_do_not_doubt_it() {
    let (mut w, nodes) = world(policy(NEVER), 6);
    for node in &nodes[3..] {
        w.ok(Command::DrainNode { node: *node });
    }
    for node in &nodes {
        let owner = w.owner(*node);
        w.deposit(owner, 5 * AEV);
    }
    let has_nothing_to_lose = |w: &mut World, task, of: &[NodeId]| {
        for node in of {
            let owner = w.owner(*node);
            assert_eq!(w.refused(dispute(owner, task, FRESH)), "unknown-task");
        }
    };
    let sampled = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let task = w.task(json!({"verification": sampled}));
    while w.phase(task) != "verifying" {
        for (_, assignment, node) in w.plan() {
            w.start(assignment);
            let run = w.run(assignment, truth(node), &[]);
            w.commit(&run);
        }
    }
    let sealed = w.state.tasks[&task].assignments.values();
    let sealed: Vec<_> = sealed.map(|a| (a.id, a.node)).collect();
    for (assignment, node) in sealed.into_iter().filter(|(_, node)| *node != nodes[2]) {
        let run = w.run(assignment, truth(node), &[]);
        w.reveal(&run);
    }
    w.later(60_000);
    w.ok(Command::Tick);
    let refused = &w.state.tasks[&task].verdict.as_ref().unwrap().refused;
    assert_eq!(refused[0].reason, RefusalReason::NotRevealed);
    has_nothing_to_lose(&mut w, task, &nodes);
    // After its back-off.
    w.later(5_000);
    let task = outvoted(&mut w, &nodes);
    for node in &nodes[3..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    has_nothing_to_lose(&mut w, task, &[nodes[0], nodes[2], nodes[3]]);
    let outvoted = w.owner(nodes[1]);
    let subject = Subject::Account(outvoted);
    let reason = "a complaint".to_owned();
    w.ok(Command::Suspend { subject, reason });
    assert_eq!(
        w.refused(dispute(outvoted, task, FRESH)),
        "account-suspended"
    );
    w.ok(Command::Release {
        subject,
        reason: "it was unfounded".into(),
    });
    w.ok(dispute(outvoted, task, FRESH));
    w.check_replay();
}

fn sampled(price: i64) -> Value {
    json!({
        "verification": [{"method": "sampling", "quorum": 2, "replicas": 2}],
        "economics": {"budget": "90000000", "pricing": {"mode": "fixed", "price": price.to_string()}},
    })
}

/// The example of the documents.
#[test]
fn whoever_has_payments_wait_for_nothing_owes_for_the_time() {
    let (mut w, nodes) = world(policy(NEVER), 5);
    let author = w.account("author");
    let offer = Offer {
        price: 3 * AEV,
        ..Offer::default()
    };
    let set = offered(&mut w, author, "set", &offer);
    for node in &nodes[2..] {
        w.ok(Command::DrainNode { node: *node });
    }
    let mut terms = sampled(5 * AEV);
    terms["data"] = using(&[set]);
    let task = w.task(terms);
    w.finish(task, truth);
    for node in &nodes[2..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    let owners = [w.owner(nodes[0]), w.owner(nodes[1]), author, w.requester];
    let before = owners.map(|owner| w.available(owner));
    w.ok(dispute(w.requester, task, 20 * AEV));
    for node in &nodes {
        w.ok(Command::DrainNode { node: *node });
    }
    w.later(DAY_MS);
    for _ in 0..2 {
        w.ok(Command::Tick);
    }
    assert_eq!(outcome(&w, task), ReviewOutcome::Undecided);
    let owed = owners.map(|owner| w.available(owner));
    let owed: Vec<i64> = owed
        .iter()
        .zip(before)
        .map(|(now, then)| now - then)
        .collect();
    // Of 5 AEV each, and of 3 and a content pool of 1.
    assert_eq!(owed, [5_000, 5_000, 4_000, -14_000]);
    let again = &w.state.tasks[&review(&w, task)];
    assert_eq!(again.definition.economics.budget, Amount(10 * AEV + 3_000));
    finished(&w, "held-up");
}

/// However little it was, and however soon it ended: as for a node that was drawn and sent away.
#[test]
fn a_payment_that_waited_is_owed_the_attempt_fee_at_least() {
    let (mut w, nodes) = world(policy(NEVER), 3);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    let owner = w.owner(nodes[0]);
    let before = (w.available(w.requester), w.available(owner));
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    for _ in 0..3 {
        for (_, assignment, _) in w.plan() {
            let reason = LossReason::Silent;
            w.ok(Command::LoseLease { assignment, reason });
        }
        w.later(600_000);
        for node in &nodes {
            w.heard_from(*node);
        }
    }
    assert_eq!(
        (w.phase(again), outcome(&w, task)),
        ("failed", ReviewOutcome::Undecided)
    );
    assert_eq!(w.available(owner) - before.1, 1_000);
    assert_eq!(w.available(w.requester) - before.0, -1_000);
    finished(&w, "held-up-shortly");
}

/// Of his own nodes one seals something, and the others stay away: that is no review either.
#[test]
fn a_review_of_which_too_little_is_shown_owes_as_much() {
    let (mut w, nodes) = world(policy(NEVER), 3);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    let owner = w.owner(nodes[0]);
    let before = (w.available(w.requester), w.available(owner));
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    let (_, assignment, node) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({"n": "anything"}), &[]);
    w.commit(&run);
    for node in &nodes {
        w.ok(Command::DrainNode { node: *node });
    }
    w.later(DAY_MS);
    for _ in 0..2 {
        w.ok(Command::Tick);
    }
    assert_eq!(w.phase(again), "verifying");
    w.reveal(&run);
    assert_eq!(
        (w.phase(again), outcome(&w, task)),
        ("inconclusive", ReviewOutcome::Undecided)
    );
    assert_eq!(w.available(owner) - before.1, 1_000);
    let fee = 1_000;
    assert_eq!(w.available(w.owner(node)), fee);
    assert_eq!(w.available(w.requester) - before.0, -1_000 - fee);
    finished(&w, "held-up-by-little");
}
