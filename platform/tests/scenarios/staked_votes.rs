//! Whose agreement decides: in an open market results with stake behind them, and names without any decide nothing.

use aevir_platform::{
    amount::Amount,
    command::Command,
    event::{Event, Verdict},
    ids::{NodeId, TaskId},
    policy::Policy,
    schedule::{Refused, why},
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, adaptive, policy, staked},
    pricing::ask,
    sample::documents_agree,
    vouching::finish_one,
    world::{AT_ONCE_MS, WINDOW_MS, World},
};

const AEV: i64 = 1_000_000;

/// An open market in which so many of a quorum's results must have stake behind them.
fn world(votes: u32) -> World {
    let mut policy = policy(NEVER);
    policy.verification.staked_votes = votes;
    World::with_policy(policy)
}

fn sample(quorum: u32, replicas: u32) -> Value {
    json!({"verification": [{"method": "sampling", "quorum": quorum, "replicas": replicas}]})
}

fn answer(liars: &[NodeId]) -> impl Fn(NodeId) -> Value {
    let liars = liars.to_vec();
    move |node| json!({"n": if liars.contains(&node) { "lie" } else { "truth" }})
}

fn nodes_on(w: &World, task: TaskId) -> Vec<NodeId> {
    w.state.tasks[&task]
        .assignments
        .values()
        .map(|a| a.node)
        .collect()
}

fn refused(w: &World, task: TaskId) -> Option<usize> {
    let why = why(&w.state, &w.state.tasks[&task], w.now);
    why.refused.get(&Refused::Unstaked).copied()
}

fn finished(w: &World, name: &str) {
    w.check_replay();
    documents_agree(w, name);
}

#[test]
fn names_without_stake_get_no_vote_however_many_they_are() {
    let mut w = world(2);
    let honest = ["a", "b"].map(|name| staked(&mut w, name));
    let liars: Vec<NodeId> = (0..20).map(|n| w.node(&format!("sybil {n}"))).collect();
    for _ in 0..10 {
        let task = w.task(sample(2, 3));
        w.finish(task, answer(&liars));
        let verdict = w.state.tasks[&task].verdict.clone().unwrap();
        assert_eq!(verdict.verdict, Verdict::Passed);
        assert!(nodes_on(&w, task).iter().all(|node| honest.contains(node)));
        // Their stake comes free.
        w.later(WINDOW_MS.into());
        w.ok(Command::Tick);
    }
    finished(&w, "sybils");
}

/// With one vote the first replica goes to anybody, and the one that is left to whoever has stake.
#[test]
fn the_last_replicas_of_a_round_bring_the_stake_that_it_lacks() {
    let mut w = world(1);
    let poor = w.node("poor");
    let task = w.task(sample(2, 3));
    assert_eq!(w.plan().len(), 1, "the first one needs none");
    assert_eq!(nodes_on(&w, task), [poor]);
    let other = w.node("as poor");
    let run = nodes_on(&w, task).len();
    finish_one(&mut w, task, &json!({"n": "truth"}));
    assert!(w.plan().is_empty(), "nobody has stake");
    assert_eq!((run, refused(&w, task)), (1, Some(1)));
    let rich = staked(&mut w, "rich");
    w.finish(task, answer(&[]));
    let on = nodes_on(&w, task);
    assert!(on.contains(&poor) && on.contains(&rich) && !on.contains(&other));
    finished(&w, "last-seat");
}

/// A node that asks for nothing has stake locked, and yet no vote: alone its word would not decide, and the next one would by itself.
#[test]
fn a_result_that_earns_nothing_does_not_stand_alone_where_votes_have_stake() {
    let mut w = world(1);
    let free = staked(&mut w, "free");
    ask(&mut w, free, "0");
    let mut terms = json!({"economics": {"budget": "90000000", "pricing": {"mode": "ask", "max_price": "1000000"}}});
    terms["verification"] = adaptive()["verification"].clone();
    let task = w.task(terms);
    let lie = json!({"n": "lie"});
    finish_one(&mut w, task, &lie);
    assert_eq!(nodes_on(&w, task), [free]);
    assert_eq!(w.state.tasks[&task].trusted(), None);
    for name in ["b", "c"] {
        let node = staked(&mut w, name);
        ask(&mut w, node, "1000000");
    }
    // The second one is not believed by itself, whatever it says, and the third one decides.
    let (_, second, _) = w.plan()[0];
    w.start(second);
    let run = w.run(second, json!({"n": "truth"}), &[]);
    w.commit(&run);
    w.reveal_all(task, answer(&[free]));
    assert_eq!(w.phase(task), "running");
    w.finish(task, answer(&[free]));
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!((verdict.accepted.len(), verdict.refused.len()), (2, 1));
    finished(&w, "free-word");
}

/// Placed at once, the first ones have it, so that it is there whatever the others are.
#[test]
fn of_replicas_that_are_placed_at_once_enough_have_stake() {
    let mut w = world(2);
    let rich = ["a", "b", "c"].map(|name| staked(&mut w, name));
    for n in 0..6 {
        w.node(&format!("poor {n}"));
    }
    let terms = json!({
        "verification": [{"method": "sampling", "quorum": 3, "replicas": 5, "initial": 5}],
        "qos": {"max_latency_ms": AT_ONCE_MS},
    });
    let task = w.task(terms);
    assert_eq!(w.plan().len(), 5);
    let with_stake = nodes_on(&w, task)
        .iter()
        .filter(|node| rich.contains(node))
        .count();
    assert!(with_stake >= 2, "{with_stake}");
    w.finish(task, answer(&[]));
    finished(&w, "at-once");
}

/// What a plan gave before counts: a node's stake covers one result, and not two.
#[test]
fn one_plan_does_not_count_on_the_same_stake_twice() {
    let mut w = world(1);
    let owner = w.account("owner");
    let mut profile = crate::world::profile("large");
    profile.slots = 4;
    profile.cpu_cores = 4;
    let node = w.node_of(owner, profile);
    w.deposit(owner, 3 * AEV);
    w.ok(Command::Stake {
        account: owner,
        node,
        amount: Amount(3 * AEV),
    });
    let one = json!({"verification": [{"method": "sampling", "quorum": 1, "replicas": 1}]});
    let _alone = w.task(one);
    w.later(1);
    let at_once = json!({
        "verification": [{"method": "sampling", "quorum": 2, "replicas": 2}],
        "qos": {"max_latency_ms": AT_ONCE_MS},
    });
    let task = w.task(at_once);
    let leased = w.plan();
    assert_eq!(leased.len(), 1, "the first task takes the stake");
    assert_eq!(refused(&w, task), Some(1));
    finished(&w, "twice");
}

/// Who does without is served by anybody; and nobody is struck, slashed or shut out by such a quorum.
#[test]
fn a_quorum_without_stake_decides_where_its_requester_says_so_and_blames_nobody() {
    let mut w = world(2);
    let honest = staked(&mut w, "honest");
    let liars = ["x", "y"].map(|name| w.node(name));
    let mut terms = sample(2, 3);
    terms["verification"][0]["unstaked"] = true.into();
    terms["verification"][0]["initial"] = 3.into();
    for _ in 0..4 {
        let task = w.task(terms.clone());
        w.finish(task, answer(&liars));
        let verdict = w.state.tasks[&task].verdict.clone().unwrap();
        assert_eq!((verdict.accepted.len(), verdict.refused.len()), (2, 1));
        let node = &w.state.nodes[&honest];
        assert_eq!(node.pledges.strikes, 0);
        assert!(node.suspended.is_none());
        w.later(60_000);
    }
    assert_eq!(w.outcomes(honest), (0, 0), "nothing is known of it");
    assert_eq!(w.state.stake(honest), Amount(20 * AEV));
    let slashed = w
        .log
        .iter()
        .any(|r| matches!(r.event, Event::NodeSlashed(_)));
    assert!(!slashed);
    finished(&w, "unstaked-quorum");
}

/// A disagreement is settled by who has stake.
#[test]
fn further_replicas_go_to_nodes_with_stake() {
    let mut w = world(1);
    let poor = w.node("poor");
    let first = w.task(sample(2, 3));
    w.plan();
    let rich = ["a", "b"].map(|name| staked(&mut w, name));
    for n in 0..5 {
        w.node(&format!("as poor {n}"));
    }
    w.finish(first, answer(&[poor]));
    let verdict = w.state.tasks[&first].verdict.clone().unwrap();
    assert_eq!(verdict.accepted.len(), 2);
    assert_eq!(w.state.nodes[&poor].pledges.strikes, 1);
    let mut others = nodes_on(&w, first);
    others.retain(|node| *node != poor);
    others.sort_unstable();
    let mut expected = rich.to_vec();
    expected.sort_unstable();
    assert_eq!(others, expected);
    finished(&w, "further");
}

/// Replicas that earn nothing have no stake behind them, so that they decide and blame nobody.
#[test]
fn where_replicas_earn_nothing_nobody_is_blamed() {
    let mut w = world(2);
    let honest = w.node("honest");
    let liars = ["x", "y"].map(|name| w.node(name));
    let mut terms = sample(2, 3);
    terms["economics"] = json!({"budget": "1000000", "pricing": {"mode": "fixed", "price": "0"}});
    terms["verification"][0]["initial"] = 3.into();
    let task = w.task(terms);
    w.finish(task, answer(&liars));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.state.nodes[&honest].pledges.strikes, 0);
    finished(&w, "nothing-earned");
}

#[test]
fn a_policy_whose_votes_cover_no_price_is_refused() {
    let mut w = World::new();
    let mut policy = Policy::default();
    policy.stake.per_result_ppm = 999_999;
    let code = w.refused(Command::AdoptPolicy(policy.clone()));
    assert_eq!(code, "policy-invalid");
    policy.verification.staked_votes = 0;
    w.ok(Command::AdoptPolicy(policy.clone()));
    policy.stake.per_result_ppm = 1_000_000;
    policy.verification.staked_votes = 10;
    let code = w.refused(Command::AdoptPolicy(policy));
    assert_eq!(code, "policy-invalid");
}
