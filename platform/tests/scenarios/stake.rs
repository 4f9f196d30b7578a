//! Stake: what nodes pledge for their results, and how they lose it.

use aevir_platform::{
    amount::Amount,
    command::{Command, LossReason, Subject},
    event::{Event, PostingReason},
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::{Policy, StakePolicy},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{AT_ONCE_MS, WINDOW_MS, World, labels, recompute, windowed},
};

const AEV: i64 = 1_000_000;

fn stake(account: AccountId, node: NodeId, amount: i64) -> Command {
    Command::Stake {
        account,
        node,
        amount: Amount(amount),
    }
}

fn unstake(account: AccountId, node: NodeId, amount: i64) -> Command {
    Command::Unstake {
        account,
        node,
        amount: Amount(amount),
    }
}

/// A node whose owner put up so much, and kept 1 AEV.
fn staked(w: &mut World, name: &str, amount: i64) -> NodeId {
    let node = w.node(name);
    let owner = w.owner(node);
    w.deposit(owner, amount + AEV);
    w.ok(stake(owner, node, amount));
    node
}

fn sampled() -> Value {
    json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]})
}

fn assignment(w: &World, task: TaskId, node: NodeId) -> AssignmentId {
    let assignments = w.state.tasks[&task].assignments.values();
    assignments.into_iter().find(|a| a.node == node).unwrap().id
}

fn locked(w: &World, node: NodeId) -> i64 {
    w.state.nodes[&node].pledges.locked.0
}

/// A sampled task on which the liar is alone with its result.
fn lied(w: &mut World, liar: NodeId) -> TaskId {
    // Its back-off is over.
    w.later(600_000);
    w.ok(Command::Tick);
    let task = w.task(sampled());
    w.finish(task, |node| json!({"n": i32::from(node == liar)}));
    assert_eq!(w.phase(task), "settled");
    task
}

#[test]
fn an_owner_puts_money_up_and_takes_back_what_is_free() {
    let mut w = World::new();
    let node = staked(&mut w, "a", 10 * AEV);
    let owner = w.owner(node);
    assert_eq!(
        (w.available(owner), w.state.stake(node)),
        (AEV, Amount(10 * AEV))
    );
    for (command, code) in [
        (stake(owner, node, 0), "amount-not-positive"),
        (stake(owner, node, AEV + 1), "balance-too-small"),
        (unstake(owner, node, -1), "amount-not-positive"),
        (unstake(owner, node, 10 * AEV + 1), "stake-locked"),
        (stake(w.requester, node, 1), "unknown-node"),
        (unstake(w.requester, node, 1), "unknown-node"),
    ] {
        assert_eq!(w.refused(command), code);
    }
    w.ok(unstake(owner, node, 4 * AEV));
    assert_eq!(
        (w.available(owner), w.state.stake(node)),
        (5 * AEV, Amount(6 * AEV))
    );
    w.ok(Command::Suspend {
        subject: Subject::Account(owner),
        reason: "a complaint".into(),
    });
    assert_eq!(w.refused(stake(owner, node, 1)), "account-suspended");
    w.check_replay();
    documents_agree(&w, "stake");
}

#[test]
fn a_result_locks_stake_from_its_lease_to_its_maturity() {
    let mut w = windowed();
    let node = staked(&mut w, "a", 7 * AEV);
    let owner = w.owner(node);
    let task = w.task(json!({}));
    let run = w.plan()[0].1;
    assert_eq!(locked(&w, node), 3 * AEV, "three times the price");
    assert!(w.state.assignment(run).unwrap().1.is_staked);
    assert_eq!(w.refused(unstake(owner, node, 4 * AEV + 1)), "stake-locked");
    w.start(run);
    let result = w.run(run, json!({}), &[]);
    w.commit(&result);
    w.reveal(&result);
    assert_eq!((w.phase(task), locked(&w, node)), ("settled", 3 * AEV));
    w.ok(unstake(owner, node, 4 * AEV));
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    assert_eq!(locked(&w, node), 0);
    w.ok(unstake(owner, node, 3 * AEV));
    w.check_replay();
    documents_agree(&w, "locked-stake");
}

#[test]
fn a_node_with_too_little_stake_works_without_a_pledge() {
    let mut w = windowed();
    let node = staked(&mut w, "a", 5 * AEV);
    let mut second = None;
    for staked in [true, false] {
        let task = w.task(json!({}));
        w.finish(task, |_| json!({}));
        let assignment = assignment(&w, task, node);
        assert_eq!(w.state.assignment(assignment).unwrap().1.is_staked, staked);
        second = Some(task);
    }
    assert_eq!(
        locked(&w, node),
        3 * AEV,
        "the second result needs 3, and 2 are free"
    );
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    assert!(w.state.tasks[&second.unwrap()].matured_at().is_some());
    assert_eq!(locked(&w, node), 0);
    w.check_replay();
    documents_agree(&w, "unstaked");
}

#[test]
fn a_run_that_brings_no_result_pledges_nothing_any_more() {
    let mut w = windowed();
    let node = staked(&mut w, "a", 9 * AEV);
    let task = w.task(json!({}));
    let run = w.plan()[0].1;
    w.start(run);
    w.ok(Command::LoseLease {
        assignment: run,
        reason: LossReason::Silent,
    });
    assert_eq!(locked(&w, node), 0);
    w.heard_from(node);
    w.later(600_000);
    assert_eq!(w.plan().len(), 1);
    assert_eq!(locked(&w, node), 3 * AEV);
    let requester = w.requester;
    w.ok(Command::CancelTask { requester, task });
    assert_eq!(locked(&w, node), 0);
    w.check_replay();
    documents_agree(&w, "freed-stake");
}

#[test]
fn one_mismatch_never_slashes_and_the_second_does() {
    let mut w = windowed();
    let [liar, ..] = ["a", "b", "c"].map(|name| staked(&mut w, name, 20 * AEV));
    lied(&mut w, liar);
    assert_eq!(w.state.stake(liar), Amount(20 * AEV));
    assert_eq!(w.state.nodes[&liar].pledges.strikes, 1);
    let treasury = |w: &World| w.state.ledger.balance(LedgerAccount::Treasury).0;
    let before = treasury(&w);
    let task = lied(&mut w, liar);
    let slashes = w.log.iter().filter_map(|r| match &r.event {
        Event::NodeSlashed(e) => Some(e.clone()),
        _ => None,
    });
    let slashes: Vec<_> = slashes.collect();
    assert_eq!(slashes.len(), 1);
    assert_eq!(
        (
            slashes[0].node,
            slashes[0].task,
            slashes[0].amount.0,
            slashes[0].strikes
        ),
        (liar, task, 3 * AEV, 2)
    );
    assert_eq!(w.state.stake(liar), Amount(17 * AEV));
    assert_eq!(
        treasury(&w) - before,
        3 * AEV + 100_000,
        "with its share of the task"
    );
    assert_eq!(locked(&w, liar), 0, "what is lost is locked no more");
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    w.check_replay();
    documents_agree(&w, "slashed");
}

#[test]
fn strikes_are_forgotten_after_a_week() {
    let mut w = World::new();
    let [liar, ..] = ["a", "b", "c"].map(|name| staked(&mut w, name, 20 * AEV));
    lied(&mut w, liar);
    w.later(604_800_001);
    lied(&mut w, liar);
    assert_eq!(w.state.stake(liar), Amount(20 * AEV));
    assert_eq!(w.state.nodes[&liar].pledges.strikes, 1);
    w.check_replay();
    documents_agree(&w, "forgotten");
}

/// Who seals a result and keeps it back is as wrong as who differs; but where nobody agrees, nobody is known to be.
#[test]
fn a_kept_back_result_is_a_strike_and_no_quorum_slashes_nobody() {
    let mut w = World::with_policy(Policy {
        stake: StakePolicy {
            strikes_free: 0,
            ..StakePolicy::default()
        },
        ..Policy::default()
    });
    let nodes = ["a", "b", "c"].map(|name| staked(&mut w, name, 20 * AEV));
    let undecided = w.task(sampled());
    w.finish(undecided, |node| json!({"n": node.to_string()}));
    assert_eq!(w.phase(undecided), "inconclusive");
    assert_eq!(nodes.map(|n| w.state.stake(n).0), [20 * AEV; 3]);
    assert_eq!(nodes.map(|n| locked(&w, n)), [0; 3]);
    let mut at_once = sampled();
    at_once["qos"] = json!({"max_latency_ms": AT_ONCE_MS});
    let task = w.task(at_once);
    let mut runs = Vec::new();
    for (_, assignment, _) in w.plan() {
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
        runs.push(run);
    }
    for run in runs.iter().filter(|run| run.report.node != nodes[0]) {
        w.reveal(run);
    }
    w.later(30_000);
    let events = w.ok(Command::Tick);
    assert_eq!(w.phase(task), "settled");
    assert!(labels(&events).contains(&"node.slashed"));
    assert_eq!(
        nodes.map(|n| w.state.stake(n).0),
        [17 * AEV, 20 * AEV, 20 * AEV]
    );
    w.check_replay();
    documents_agree(&w, "kept-back");
}

#[test]
fn stake_comes_back_when_a_node_leaves_and_from_one_that_is_shut_out() {
    let mut w = windowed();
    let (leaving, revoked) = (staked(&mut w, "a", 5 * AEV), staked(&mut w, "b", 5 * AEV));
    let owners = [leaving, revoked].map(|n| w.owner(n));
    let tasks = [w.task(json!({})), w.task(json!({}))];
    w.plan();
    for task in tasks {
        w.finish(task, |_| json!({}));
    }
    w.ok(Command::LeaveMarket { node: leaving });
    w.ok(Command::RevokeNode {
        node: revoked,
        reason: "its machine was stolen".into(),
    });
    assert_eq!(
        w.refused(unstake(owners[1], revoked, 5 * AEV)),
        "stake-locked"
    );
    assert_eq!(w.refused(stake(owners[1], revoked, 1)), "node-gone");
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    let events = w.ok(Command::Tick);
    assert_eq!(
        labels(&events)[..2],
        ["node.left", "ledger.posted"],
        "{events:?}"
    );
    assert_eq!(w.state.stake(leaving), Amount::ZERO);
    w.ok(unstake(owners[1], revoked, 5 * AEV));
    // The share, the stake, and what was kept.
    assert_eq!(owners.map(|o| w.available(o)), [7 * AEV, 7 * AEV]);
    w.check_replay();
    documents_agree(&w, "returned-stake");
}

#[test]
fn an_audit_finds_a_slash_that_is_left_out_or_made_up() {
    let mut w = World::new();
    let [liar, ..] = ["a", "b", "c"].map(|name| staked(&mut w, name, 20 * AEV));
    lied(&mut w, liar);
    lied(&mut w, liar);
    recompute(&w.log).unwrap();
    let at = w
        .log
        .iter()
        .position(|r| matches!(r.event, Event::NodeSlashed(_)));
    let at = at.unwrap();
    let mut left_out = w.log.clone();
    left_out.drain(at..at + 2);
    let fault = recompute(&left_out).unwrap_err();
    assert!(fault.to_string().contains("node.slashed"), "{fault}");
    let mut kept = w.log.clone();
    let Event::LedgerPosted(posted) = &mut kept[at + 1].event else {
        unreachable!()
    };
    assert_eq!(posted.reason, PostingReason::Slash);
    posted.postings[1].account = LedgerAccount::Available(w.requester);
    let fault = recompute(&kept).unwrap_err();
    assert_eq!(fault.position, at as u64 + 1);
    assert!(fault.to_string().contains("/postings/1/account"), "{fault}");
}
