//! Who may run a task its requester can choose by labels, which nodes give themselves. Who judges a result, and who is blamed for one, he
//! can't.

use std::{cell::RefCell, collections::BTreeMap};

use aevir_platform::{
    amount::Amount,
    command::{Command, NodeProfile},
    definition::Pricing,
    event::{Event, ReviewOutcome, Trust, Untrusted},
    ids::NodeId,
    policy::{Market, Policy},
    schedule::{Refused, why},
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, adaptive, policy, staked},
    quotes::quoted,
    reviews::{AEV, FRESH, dispute, finished, outcome, review, stake, truth},
    vouching::vouched,
    world::{World, profile},
};

const ALWAYS: u32 = 1_000_000;

/// A node with stake that says it is in a region.
fn in_region(w: &mut World, name: &str) -> NodeId {
    let node = staked(w, name);
    let mut profile = w.state.nodes[&node].profile.clone();
    profile.labels = BTreeMap::from([("region".into(), "here".into())]);
    let profile = Box::new(profile);
    w.ok(Command::ChangeProfile { node, profile });
    node
}

fn narrowed(method: Value) -> Value {
    json!({"qos": {"labels": {"region": "here"}}, "verification": [method]})
}

fn sampled() -> Value {
    json!({"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3})
}

/// Two names of one party beside a third node, all of them chosen by what they say of themselves.
#[test]
fn nodes_that_a_requester_chose_blame_nobody() {
    let mut w = World::with_policy(policy(NEVER));
    let victim = in_region(&mut w, "victim");
    for name in ["mine", "mine, too"] {
        in_region(&mut w, name);
    }
    let by_speed = json!({"qos": {"min_mfuel_s": 1}, "verification": [sampled()]});
    for terms in [narrowed(sampled()), by_speed] {
        let task = w.task(terms);
        let lie = |node| json!({"n": if node == victim { "truth" } else { "lie" }});
        w.finish(task, lie);
        assert_eq!(w.phase(task), "settled");
        let refused = &w.state.tasks[&task].verdict.as_ref().unwrap().refused;
        assert_eq!(refused.len(), 1, "it is not paid");
    }
    let node = &w.state.nodes[&victim];
    assert_eq!(stake(&w, victim), 20 * AEV);
    assert_eq!(node.pledges.strikes, 0);
    assert!(
        node.records
            .values()
            .all(|record| record.tallies.is_empty())
    );
    let counted = w.state.nodes.values().map(|node| node.pledges.accepted);
    assert_eq!(counted.sum::<u32>(), 0, "nor do they show anything");
    finished(&w, "chosen");
}

fn asking(w: &mut World, name: &str, ask: i64) -> NodeId {
    let node = staked(w, name);
    let terms = json!({"asks": {"data-processing": ask.to_string()}});
    let terms = Box::new(serde_json::from_value(terms).unwrap());
    w.ok(Command::ChangeTerms { node, terms });
    node
}

fn by_ask(method: Value) -> Value {
    let pricing = json!({"mode": "ask", "max_price": AEV.to_string()});
    json!({"economics": {"budget": "100000000", "pricing": pricing}, "verification": [method]})
}

/// An ask is what a node says of itself, too: where hardly anybody has one, those who have are whom the requester likes.
#[test]
fn nodes_that_were_chosen_by_their_asks_blame_nobody_and_judge_nobody() {
    let mut w = World::with_policy(policy(NEVER));
    let victim = asking(&mut w, "victim", AEV);
    let mine = ["mine", "mine, too"].map(|name| asking(&mut w, name, 1));
    let task = w.task(by_ask(sampled()));
    w.finish(
        task,
        |node| json!({"n": if node == victim { "truth" } else { "lie" }}),
    );
    assert_eq!(w.phase(task), "settled");
    assert_eq!(stake(&w, victim), 20 * AEV);
    assert_eq!(w.state.nodes[&victim].pledges.strikes, 0);
    // Who looks again is drawn among those without an ask as well, for a fixed price, and pledges by it.
    let others = ["d", "e", "f"].map(|name| staked(&mut w, name));
    w.ok(dispute(w.requester, task, FRESH));
    let fresh = review(&w, task);
    let again = &w.state.tasks[&fresh].definition;
    let price = Amount(AEV);
    assert_eq!(again.economics.pricing, Pricing::Fixed { price });
    assert!(!again.is_narrowed());
    w.finish(fresh, truth);
    let looked = w.state.tasks[&fresh].assignments.values();
    assert!(looked.map(|a| a.node).all(|node| others.contains(&node)));
    assert_eq!(outcome(&w, task), ReviewOutcome::Overturned);
    assert!(
        mine.iter()
            .all(|node| w.state.nodes[node].pledges.strikes == 1)
    );
    finished(&w, "by-ask");
}

/// Names that wait until a chosen node is away can't have its stake.
#[test]
fn who_does_not_reveal_to_a_quorum_that_may_not_blame_loses_no_stake() {
    for is_chosen in [true, false] {
        let mut strict = policy(NEVER);
        strict.stake.strikes_free = 0;
        let mut w = World::with_policy(strict);
        let victim = in_region(&mut w, "victim");
        for name in ["mine", "mine, too"] {
            in_region(&mut w, name);
        }
        let terms = match is_chosen {
            true => narrowed(sampled()),
            false => json!({"verification": [sampled()]}),
        };
        let task = w.task(terms);
        while w.phase(task) != "verifying" {
            for (_, assignment, _) in w.plan() {
                w.start(assignment);
                w.commit(&w.run(assignment, truth(victim), &[]));
            }
        }
        let sealed: Vec<_> = w.state.tasks[&task]
            .assignments
            .values()
            .map(|a| a.id)
            .collect();
        for assignment in sealed {
            if w.node_on(assignment) != victim {
                w.reveal(&w.run(assignment, truth(victim), &[]));
            }
        }
        w.later(60_000);
        w.ok(Command::Tick);
        assert_eq!(w.phase(task), "settled");
        assert_eq!(w.state.nodes[&victim].pledges.strikes, 1, "it sealed");
        let lost = if is_chosen { 0 } else { 3 * AEV };
        assert_eq!(stake(&w, victim), 20 * AEV - lost);
        finished(&w, &format!("unrevealed-{is_chosen}"));
    }
}

/// Such a quorum can be overruled by others, and these blame.
#[test]
fn a_second_look_is_by_nodes_that_nobody_chose() {
    let mut w = World::with_policy(policy(NEVER));
    let chosen = ["a", "b", "c"].map(|name| in_region(&mut w, name));
    let others = ["d", "e", "f"].map(|name| staked(&mut w, name));
    let task = w.task(narrowed(sampled()));
    w.finish(task, |_| json!({"n": "lie"}));
    w.ok(dispute(w.requester, task, FRESH));
    let fresh = review(&w, task);
    assert!(!w.state.tasks[&fresh].definition.is_narrowed());
    w.finish(fresh, truth);
    assert_eq!(outcome(&w, task), ReviewOutcome::Overturned);
    let looked = w.state.tasks[&fresh].assignments.values();
    assert!(looked.map(|a| a.node).all(|node| others.contains(&node)));
    assert!(
        chosen
            .iter()
            .all(|node| w.state.nodes[node].pledges.strikes == 1)
    );
    finished(&w, "second-look");
}

#[test]
fn a_result_of_a_node_that_was_chosen_never_stands_alone() {
    let mut w = World::with_policy(policy(NEVER));
    for name in ["a", "b", "c"] {
        in_region(&mut w, name);
    }
    let task = w.task(narrowed(adaptive()["verification"][0].clone()));
    w.finish(task, truth);
    let decided = w.log.iter().find_map(|r| match &r.event {
        Event::TrustDecided(e) => Some(e.trust),
        _ => None,
    });
    let reason = Untrusted::Narrowed;
    assert_eq!(decided, Some(Trust::Denied { reason }));
    assert_eq!(
        w.state.tasks[&task]
            .verdict
            .as_ref()
            .unwrap()
            .accepted
            .len(),
        2
    );
    finished(&w, "never-alone");
}

/// A sample that can blame nobody, or is worth nothing, shows nothing of whoever stands in it.
#[test]
fn what_costs_a_node_nothing_does_not_vouch_for_it() {
    let mut w = World::with_policy(vouched(ALWAYS));
    let nodes = ["a", "b", "c"].map(|name| staked(&mut w, name));
    let free = json!({"budget": "1000000", "pricing": {"mode": "fixed", "price": "0"}});
    let mut unstaked = adaptive()["verification"].clone();
    unstaked[0]["unstaked"] = json!(true);
    let own = json!({"verification": unstaked.clone()});
    let worthless = json!({"verification": adaptive()["verification"], "economics": free});
    for terms in [own, worthless] {
        let task = w.task(terms);
        w.finish(task, truth);
        assert_eq!(w.phase(task), "settled");
    }
    let vouched = |w: &World| {
        nodes
            .iter()
            .any(|node| w.state.nodes[node].vouched_at.0 > 0)
    };
    assert!(!vouched(&w));
    let task = w.task(adaptive());
    w.finish(task, truth);
    assert!(vouched(&w));
    finished(&w, "not-vouched");
}

/// A sample of two of three, on GPUs of these classes, or of any.
fn on_gpus(classes: &[&str]) -> Value {
    json!({"qos": {"gpu": {"classes": classes}}, "verification": [sampled()]})
}

fn of_class(name: &str, class: &str) -> NodeProfile {
    let mut profile = profile(name);
    profile.gpu.as_mut().unwrap().class = class.into();
    profile
}

#[test]
fn a_sample_that_no_class_has_owners_for_is_refused() {
    let mut w = World::with_policy(policy(NEVER));
    let (owner, other) = (w.account("of two"), w.account("another"));
    w.node_of(owner, of_class("one", "class-b"));
    w.node_of(owner, of_class("two", "class-b"));
    w.node_of(w.requester, of_class("mine", "class-b"));
    w.node_of(other, of_class("three", "class-b"));
    let refused = |w: &mut World, classes: &[&str]| {
        let asked = w.submission(on_gpus(classes));
        assert_eq!(w.refused(asked), "class-too-small");
    };
    refused(&mut w, &[]);
    let third = w.account("a third");
    w.node_of(third, of_class("four", "class-b"));
    refused(&mut w, &["class-a"]);
    // One result of any class needs no other.
    let mut alone = on_gpus(&["class-a"]);
    alone["verification"] = json!([]);
    w.task(alone);
    w.task(on_gpus(&[]));
    w.task(on_gpus(&["class-a", "class-b"]));
}

/// Two owners' nodes fit, and not in one class.
#[test]
fn a_quote_promises_what_one_class_can_do() {
    let mut w = World::with_policy(policy(NEVER));
    let owners = ["a", "b", "c", "d"].map(|name| w.account(name));
    let join = |w: &mut World, owner: usize, class: &str, memory_mib: u32| {
        let mut profile = of_class(&format!("{owner} {class}"), class);
        profile.memory_mib = memory_mib;
        w.node_of(owners[owner], profile)
    };
    let (large, small) = (8_192, 512);
    for (owner, memory_mib) in [(0, large), (1, small), (2, small)] {
        join(&mut w, owner, "p", memory_mib);
    }
    for (owner, memory_mib) in [(1, large), (2, small), (3, small)] {
        join(&mut w, owner, "q", memory_mib);
    }
    let free = json!({"method": "sampling", "quorum": 2, "replicas": 3, "unstaked": true});
    let terms =
        json!({"limits": {"memory_mib": 3_000}, "qos": {"gpu": {}}, "verification": [free]});
    let asked = quoted(&w, terms.clone());
    assert_eq!((asked.eligible, asked.starts_at), (2, None));
    join(&mut w, 2, "q", large);
    assert!(quoted(&w, terms).starts_at.is_some());
}

#[test]
fn a_sample_begins_only_in_a_class_with_owners_for_all_of_it() {
    let mut w = World::with_policy(policy(NEVER));
    let free = json!({"method": "sampling", "quorum": 2, "replicas": 3, "unstaked": true});
    let terms = json!({"qos": {"gpu": {}}, "verification": [free]});
    let of = |w: &mut World, name: &str, class: &str| {
        let owner = w.account(name);
        w.node_of(owner, of_class(name, class))
    };
    // The requester is the third one of a class.
    let mut lone: Vec<NodeId> = ["a", "b"].map(|name| of(&mut w, name, "his")).into();
    lone.push(w.node_of(w.requester, of_class("own", "his")));
    lone.push(of(&mut w, "c", "lone"));
    let enough = ["d", "e", "f"].map(|name| of(&mut w, name, "enough"));
    for _ in 0..enough.len() {
        let task = w.task(terms.clone());
        let given = w.plan();
        let [(of, _, node)] = given.as_slice() else {
            panic!("one placement: {given:?}");
        };
        assert_eq!(*of, task);
        assert!(enough.contains(node));
    }
    // They are busy now, and nobody else will do.
    let task = w.task(terms);
    assert!(w.plan().is_empty());
    let why = why(&w.state, &w.state.tasks[&task], w.now);
    assert_eq!(why.refused[&Refused::ClassTooSmall], 3);
    assert_eq!(why.refused[&Refused::OwnNode], 1);
    assert_eq!(why.refused[&Refused::NoFreeSlot], 3);
    // With one more owner the small class is as good as the other.
    let fourth = of(&mut w, "g", "his");
    w.ok(Command::DrainNode { node: fourth });
    assert!(
        w.plan().is_empty(),
        "it takes nothing, and confirms nothing"
    );
    w.ok(Command::ResumeNode { node: fourth });
    let [(placed, _, node)] = w.plan()[..] else {
        panic!("one placement");
    };
    assert_eq!(placed, task);
    assert!(lone[..2].contains(&node) || node == fourth);
    finished(&w, "class-too-small");
}

/// In a market of one owner both samples are his: the reviewing one takes points first, and the other of what is left.
#[test]
fn one_owner_loses_points_for_both_samples_and_never_more_than_he_has() {
    let private = Policy {
        market: Market::Private,
        settlement: policy(NEVER).settlement,
        ..Policy::default()
    };
    let mut w = World::with_policy(private);
    let nodes = ["a", "b", "c", "d", "e", "f"].map(|name| w.node_of(w.requester, profile(name)));
    w.deposit(w.requester, 10_000 * AEV);
    for node in nodes {
        let (account, amount) = (w.requester, Amount(AEV));
        w.ok(Command::Stake {
            account,
            node,
            amount,
        });
    }
    let earn = w.task(json!({"verification": [sampled()]}));
    w.finish(earn, truth);
    w.later(60_000);
    w.ok(Command::Tick);
    let points = w.compute_points(w.requester);
    assert!(points > 100, "{points}: more than two refusals cost");
    let sample = json!({"method": "sampling", "quorum": 2, "replicas": 3});
    let task = w.task(json!({"verification": [sample]}));
    w.finish(task, |_| json!({"n": "lie"}));
    w.ok(dispute(w.requester, task, FRESH));
    let fresh = review(&w, task);
    let said = RefCell::new(BTreeMap::new());
    w.finish(fresh, |node| {
        let mut said = said.borrow_mut();
        let next = ["other", "truth", "truth"][said.len() % 3];
        json!({"n": *said.entry(node).or_insert(next)})
    });
    assert_eq!(outcome(&w, task), ReviewOutcome::Overturned);
    assert_eq!(w.compute_points(w.requester), 0);
    finished(&w, "private-overturned");
}
