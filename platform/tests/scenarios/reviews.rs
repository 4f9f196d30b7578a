//! Verdicts that are looked at again: because somebody doubts them, or because they rest on one word of a node that was caught.

use aevir_platform::{
    amount::Amount,
    command::{Command, Subject},
    event::{Event, ReviewOutcome},
    ids::{AccountId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    state::Review,
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, adaptive, policy, staked},
    sample::documents_agree,
    world::{WINDOW_MS, World, labels, recompute},
};

pub const AEV: i64 = 1_000_000;
/// What looking at a lone result again may cost: two replicas and three attempts.
const AGAIN: i64 = 2 * AEV + 3_000;
/// What the platform takes for a replica of 1 AEV.
pub const PLATFORM: i64 = 50_000;
/// What three fresh replicas may cost.
pub const FRESH: i64 = 3 * AEV + 3_000;

/// So many nodes of as many owners, each with a stake of 20 AEV.
pub fn world(policy: Policy, nodes: usize) -> (World, Vec<NodeId>) {
    let mut w = World::with_policy(policy);
    let names = ["a", "b", "c", "d", "e", "f"];
    let nodes = names[..nodes].iter().map(|name| staked(&mut w, name));
    let nodes = nodes.collect();
    (w, nodes)
}

fn sampled(replicas: u32) -> Value {
    json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": replicas, "initial": replicas}]})
}

/// Everybody else stays away, so that this node gets what is placed.
pub fn only(w: &mut World, node: NodeId, nodes: &[NodeId], run: impl FnOnce(&mut World)) {
    let others = || nodes.iter().filter(|other| **other != node);
    others().for_each(|node| drop(w.ok(Command::DrainNode { node: *node })));
    run(w);
    others().for_each(|node| drop(w.ok(Command::ResumeNode { node: *node })));
}

/// A task whose verdict rests on one word of this node.
pub fn alone(w: &mut World, node: NodeId, nodes: &[NodeId], result: &Value) -> TaskId {
    let task = w.task(adaptive());
    only(w, node, nodes, |w| w.finish(task, |_| result.clone()));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.state.tasks[&task].replicas(), 1);
    task
}

/// The node's result is refused by a quorum of others.
pub fn caught(w: &mut World, node: NodeId) {
    let task = w.task(sampled(3));
    let lie = |of: NodeId| json!({"n": if of == node { "lie" } else { "truth" }});
    w.finish(task, lie);
    assert_eq!(w.phase(task), "settled");
    let refused = &w.state.tasks[&task].verdict.as_ref().unwrap().refused;
    assert_eq!(refused.len(), 1, "the node was drawn for the sample");
}

pub fn dispute(account: AccountId, task: TaskId, bond: i64) -> Command {
    Command::Dispute {
        account,
        task,
        reason: "the sum does not add up".into(),
        bond: Amount(bond),
    }
}

/// The task that looks at this one's verdict again.
pub fn review(w: &World, task: TaskId) -> TaskId {
    w.state.tasks[&task].review.by().unwrap()
}

pub fn outcome(w: &World, task: TaskId) -> ReviewOutcome {
    match &w.state.tasks[&task].review {
        Review::Ended { outcome, .. } => *outcome,
        other => panic!("{other:?}"),
    }
}

pub fn stake(w: &World, node: NodeId) -> i64 {
    w.state.stake(node).0
}

pub fn pending(w: &World, node: NodeId) -> i64 {
    let owner = w.owner(node);
    w.state.ledger.balance(LedgerAccount::Pending(owner)).0
}

fn treasury(w: &World) -> i64 {
    w.state.ledger.balance(LedgerAccount::Treasury).0
}

pub fn truth(_: NodeId) -> Value {
    json!({"n": "truth"})
}

pub fn finished(w: &World, name: &str) {
    w.check_replay();
    documents_agree(w, name);
}

/// After its window, whatever became of it, no result is open.
pub fn matured(w: &mut World) {
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    for node in w.state.nodes.values() {
        assert_eq!(node.pledges.locked, Amount::ZERO);
        assert!(node.sealed.is_empty());
    }
}

/// A suspension stops what is new, and a review looks at what is old: by what he has suspended nobody keeps his lie from being looked at.
#[test]
fn a_review_is_placed_whatever_is_suspended_but_the_module() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let lie = json!({"n": "lie"});
    let [task, other] = [0, 1].map(|node| alone(&mut w, nodes[node], &nodes, &lie));
    let subject = Subject::Account(w.requester);
    let reason = || "a complaint".to_owned();
    let suspend = |subject| Command::Suspend {
        subject,
        reason: reason(),
    };
    w.ok(dispute(w.requester, task, FRESH));
    w.ok(suspend(subject));
    let again = review(&w, task);
    w.finish(again, truth);
    assert_eq!(w.phase(task), "overturned");
    w.ok(Command::Release {
        subject,
        reason: reason(),
    });
    w.ok(suspend(Subject::Module(w.module)));
    let refused = w.refused(dispute(w.requester, other, FRESH));
    assert_eq!(refused, "module-suspended");
    finished(&w, "suspended-and-reviewed");
}

#[test]
fn what_a_caught_node_said_alone_is_looked_at_again_and_refuted_at_its_cost() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let cheat = nodes[0];
    let tasks = [0, 1].map(|_| alone(&mut w, cheat, &nodes, &json!({"n": "lie"})));
    assert_eq!(pending(&w, cheat), 2 * AEV);
    w.ok(Command::DrainNode { node: nodes[3] });
    caught(&mut w, cheat);
    w.ok(Command::ResumeNode { node: nodes[3] });
    assert_eq!(stake(&w, cheat), 20 * AEV, "the first refusal is free");
    let paid = w.available(w.requester);
    let events = w.ok(Command::Tick);
    let of_one = [
        "task.review_opened",
        "task.created",
        "ledger.posted",
        "task.queued",
    ];
    assert_eq!(labels(&events), [of_one, of_one].concat());
    assert_eq!(stake(&w, cheat), 20 * AEV - 2 * AGAIN);
    let treasury_before = treasury(&w);
    for task in tasks {
        let again = review(&w, task);
        assert_eq!(w.state.tasks[&again].escrow, Amount(AGAIN));
        w.finish(again, truth);
        assert_eq!(
            w.state.tasks[&again].replicas(),
            2,
            "one differs, two agree"
        );
        assert!(
            !w.state.tasks[&again]
                .assignments
                .values()
                .any(|a| a.node == cheat)
        );
        assert_eq!(
            (w.phase(again), w.phase(task), outcome(&w, task)),
            ("settled", "overturned", ReviewOutcome::Overturned)
        );
    }
    assert_eq!(
        w.available(w.requester) - paid,
        2 * (AEV + PLATFORM),
        "it has back all that it paid"
    );
    assert_eq!(pending(&w, cheat), 0);
    let (locked, unused) = (6 * AEV, 2 * 3_000);
    assert_eq!(stake(&w, cheat), 20 * AEV - locked + unused);
    let kept = locked - 2 * AGAIN - 2 * PLATFORM;
    assert_eq!(treasury(&w) - treasury_before, kept);
    assert_eq!(w.state.nodes[&cheat].pledges.strikes, 3);
    assert!(w.state.nodes[&cheat].suspended.is_some());
    matured(&mut w);
    finished(&w, "recalled");
}

#[test]
fn what_a_caught_node_said_alone_and_rightly_stands_after_one_more_run() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let unlucky = nodes[0];
    let task = alone(&mut w, unlucky, &nodes, &truth(unlucky));
    w.ok(Command::DrainNode { node: nodes[3] });
    caught(&mut w, unlucky);
    w.ok(Command::ResumeNode { node: nodes[3] });
    w.ok(Command::Tick);
    let again = review(&w, task);
    // Its window passes meanwhile, and nothing matures.
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    assert_eq!(w.state.tasks[&task].matured_at(), None);
    w.finish(again, truth);
    assert_eq!(w.state.tasks[&again].replicas(), 1, "both words agree");
    assert_eq!(outcome(&w, task), ReviewOutcome::Upheld);
    w.ok(Command::Tick);
    assert!(w.state.tasks[&task].matured_at().is_some());
    assert_eq!(stake(&w, unlucky), 19 * AEV, "it paid for one run");
    matured(&mut w);
    finished(&w, "recalled-rightly");
}

/// What was sealed before the node was caught, and settles after, is looked at again, too.
#[test]
fn what_settles_after_its_node_was_caught_is_looked_at_again() {
    let (mut w, nodes) = world(policy(NEVER), 3);
    let cheat = nodes[0];
    let task = w.task(adaptive());
    let mut sealed = None;
    only(&mut w, cheat, &nodes, |w| {
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let run = w.run(assignment, json!({"n": "lie"}), &[]);
        w.commit(&run);
        sealed = Some(run);
    });
    caught(&mut w, cheat);
    w.reveal(&sealed.unwrap());
    assert_eq!(w.phase(task), "settled");
    assert!(matches!(w.state.tasks[&task].review, Review::Due { .. }));
    w.ok(Command::Tick);
    let again = review(&w, task);
    w.finish(again, truth);
    assert_eq!(w.phase(task), "overturned");
    matured(&mut w);
    finished(&w, "sealed-before");
}

#[test]
fn a_dispute_that_is_right_costs_its_maker_nothing() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let cheat = nodes[0];
    let task = alone(&mut w, cheat, &nodes, &json!({"n": "lie"}));
    let before = w.available(w.requester);
    let treasury_before = treasury(&w);
    let requester = w.requester;
    w.ok(dispute(requester, task, 5 * AEV));
    assert_eq!(
        before - w.available(requester),
        FRESH,
        "no more than it needs"
    );
    let again = review(&w, task);
    w.finish(again, truth);
    assert_eq!(w.phase(task), "overturned");
    assert_eq!(
        w.available(requester) - before,
        AEV + PLATFORM,
        "the bond, and what it had paid to the node and the platform"
    );
    assert_eq!(stake(&w, cheat), 17 * AEV);
    assert_eq!(
        treasury(&w) - treasury_before,
        AEV - PLATFORM,
        "what the replicas left"
    );
    let fresh: i64 = nodes[1..].iter().map(|n| pending(&w, *n)).sum();
    assert_eq!(fresh, 2 * AEV);
    matured(&mut w);
    finished(&w, "rightly-disputed");
}

#[test]
fn a_dispute_that_is_wrong_pays_for_the_fresh_replicas() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    let before = w.available(w.requester);
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    w.finish(again, truth);
    assert_eq!(outcome(&w, task), ReviewOutcome::Upheld);
    assert_eq!(before - w.available(w.requester), 2 * AEV);
    assert_eq!(w.phase(task), "settled");
    matured(&mut w);
    assert!(w.state.tasks[&task].matured_at().is_some());
    finished(&w, "wrongly-disputed");
}

/// Without stake, what was pending for the refuted results pays. Whoever was outvoted by them can have it looked at again.
#[test]
fn a_whole_quorum_can_be_refuted() {
    let mut unstaked = policy(NEVER);
    unstaked.verification.staked_votes = 0;
    let mut w = World::with_policy(unstaked);
    let nodes = ["a", "b", "c", "d", "e"].map(|name| w.node(name));
    let (colluding, right) = (&nodes[..2], nodes[2]);
    for node in &nodes[3..] {
        w.ok(Command::DrainNode { node: *node });
    }
    let task = w.task(sampled(3));
    let lie = |node| json!({"n": if node == right { "truth" } else { "lie" }});
    w.finish(task, lie);
    for node in &nodes[3..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    let before = w.available(w.requester);
    // Whoever has nothing to lose by it does not know that it exists.
    for other in [nodes[0], nodes[4]] {
        let other = w.owner(other);
        w.deposit(other, 5 * AEV);
        assert_eq!(w.refused(dispute(other, task, 5 * AEV)), "unknown-task");
    }
    let outvoted = w.owner(right);
    assert_eq!(
        w.refused(dispute(outvoted, task, FRESH)),
        "balance-too-small"
    );
    w.deposit(outvoted, 5 * AEV);
    w.ok(dispute(outvoted, task, 5 * AEV));
    let again = review(&w, task);
    w.finish(again, truth);
    assert_eq!(w.phase(task), "overturned");
    assert!(colluding.iter().all(|n| pending(&w, *n) == 0));
    assert_eq!(w.available(outvoted), 5 * AEV, "his bond is made good");
    let share = 2 * PLATFORM;
    assert_eq!(
        w.available(w.requester) - before,
        share,
        "the rest paid for the replicas"
    );
    matured(&mut w);
    finished(&w, "quorum-refuted");
}

#[test]
fn a_review_that_nobody_runs_in_time_changes_nothing() {
    let (mut w, nodes) = world(policy(NEVER), 3);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    for node in &nodes {
        w.ok(Command::DrainNode { node: *node });
    }
    let requester = w.requester;
    assert_eq!(
        w.refused(Command::CancelTask {
            requester,
            task: again
        }),
        "review-task"
    );
    w.later(86_400_000);
    // One for the turn of the epoch, and one for what is due.
    w.ok(Command::Tick);
    w.ok(Command::Tick);
    assert_eq!(
        (w.phase(again), outcome(&w, task)),
        ("expired", ReviewOutcome::Undecided)
    );
    w.ok(Command::Tick);
    assert!(w.state.tasks[&task].matured_at().is_some());
    finished(&w, "undecided");
}

/// What may go back no pool gets, however many epochs close before it does: what a pool has paid out does not come back.
#[test]
fn what_the_platform_gives_back_no_pool_gets() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = alone(&mut w, nodes[0], &nodes, &json!({"n": "lie"}));
    assert_eq!(w.state.rewards.collected.0, 0, "it has not matured");
    w.ok(dispute(w.requester, task, FRESH));
    w.finish(review(&w, task), truth);
    assert_eq!(w.phase(task), "overturned");
    assert_eq!(w.state.rewards.collected.0, 0);
    let other = alone(&mut w, nodes[1], &nodes, &json!({"n": "truth"}));
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    assert!(w.state.tasks[&other].matured_at().is_some());
    assert_eq!(w.state.rewards.collected.0, PLATFORM);
    finished(&w, "given-back");
}

#[test]
fn what_can_not_be_disputed() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let requester = w.requester;
    let running = w.task(adaptive());
    assert_eq!(
        w.refused(dispute(requester, running, FRESH)),
        "nothing-to-dispute"
    );
    w.ok(Command::CancelTask {
        requester,
        task: running,
    });
    let fast = w.task(json!({"runtime": "fast/1"}));
    w.finish(fast, truth);
    assert_eq!(w.refused(dispute(requester, fast, FRESH)), "not-comparable");
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    assert_eq!(
        w.refused(dispute(requester, task, FRESH - 1)),
        "bond-too-small"
    );
    let silent = Command::Dispute {
        account: requester,
        task,
        reason: String::new(),
        bond: Amount(FRESH),
    };
    assert_eq!(w.refused(silent), "reason-invalid");
    w.ok(dispute(requester, task, FRESH));
    let again = review(&w, task);
    assert_eq!(
        w.refused(dispute(requester, task, FRESH)),
        "reviewed-already"
    );
    assert_eq!(w.refused(dispute(requester, again, FRESH)), "review-task");
    w.finish(again, truth);
    assert_eq!(
        w.refused(dispute(requester, task, FRESH)),
        "reviewed-already"
    );
    let late = alone(&mut w, nodes[1], &nodes, &truth(nodes[1]));
    w.later(WINDOW_MS.into());
    assert_eq!(
        w.refused(dispute(requester, late, FRESH)),
        "nothing-to-dispute"
    );
    w.check_replay();
}

/// Tasks that wait for a refuted one end, and nobody builds on its model.
#[test]
fn what_rests_on_a_refuted_task_goes_no_further() {
    let (mut w, nodes) = world(policy(NEVER), 5);
    let target = json!({"name": "m", "version": "1", "outputs": ["out"], "licence": "CC0-1.0"});
    let mut training = adaptive();
    training["type"] = json!("training");
    training["model"] = json!({"target": target});
    let task = w.task(training);
    only(&mut w, nodes[0], &nodes, |w| {
        w.finish(task, |_| json!({"n": "lie"}))
    });
    let model = w.state.tasks[&task].model.unwrap();
    let other = w.task(json!({"qos": {"labels": {"no": "node"}}}));
    let both: Vec<Value> = [task, other].map(|t| json!({"task": t.to_string()})).into();
    let waiting = w.task(json!({"depends_on": both}));
    w.ok(dispute(w.requester, task, FRESH));
    w.finish(review(&w, task), truth);
    assert_eq!(w.phase(task), "overturned");
    assert!(w.state.contents[&model].suspended.is_some());
    w.ok(Command::Tick);
    assert_eq!(w.phase(waiting), "cancelled");
    let after = w.submission(json!({"depends_on": [{"task": task.to_string()}]}));
    assert_eq!(w.refused(after), "dependency-failed");
    matured(&mut w);
    finished(&w, "refuted-model");
}

/// No other amount, no other outcome, and no review that nothing calls for.
#[test]
fn an_audit_finds_a_review_that_was_bent() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = alone(&mut w, nodes[0], &nodes, &json!({"n": "lie"}));
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    w.finish(again, truth);
    recompute(&w.log).unwrap();
    let at = |found: &dyn Fn(&Event) -> bool| w.log.iter().position(|r| found(&r.event)).unwrap();
    let reviewed = at(&|e| matches!(e, Event::TaskReviewed(_)));
    let mut upheld = w.log.clone();
    let Event::TaskReviewed(e) = &mut upheld[reviewed].event else {
        unreachable!()
    };
    e.outcome = ReviewOutcome::Upheld;
    assert_eq!(recompute(&upheld).unwrap_err().position, reviewed as u64);
    let opened = at(&|e| matches!(e, Event::ReviewOpened(_)));
    let mut cheaper = w.log.clone();
    let Event::ReviewOpened(e) = &mut cheaper[opened].event else {
        unreachable!()
    };
    e.bond = Amount(1);
    assert_eq!(recompute(&cheaper).unwrap_err().position, opened as u64);
}
