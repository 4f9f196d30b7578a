//! What replicas earn by what their nodes ask for, and by what they use.

use aevir_events::Timestamp;
use aevir_platform::{
    amount::{Amount, Count},
    command::Command,
    event::{Event, ShareRole},
    ids::{NodeId, TaskId},
    ledger::LedgerAccount,
    schedule::{Refused, quote, refusal},
    state::Task,
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, immediate, windowed},
};

pub fn ask(w: &mut World, node: NodeId, micro: &str) {
    let terms = json!({"asks": {"data-processing": micro}});
    w.ok(Command::ChangeTerms {
        node,
        terms: Box::new(serde_json::from_value(terms).unwrap()),
    });
}

fn by_ask(max_price: &str) -> Value {
    json!({"budget": "90000000", "pricing": {"mode": "ask", "max_price": max_price}})
}

fn metered(pricing: Value) -> Value {
    let mut pricing = pricing;
    pricing["mode"] = "metered".into();
    json!({"budget": "90000000", "pricing": pricing})
}

fn settled(w: &World, task: TaskId) -> &Task {
    assert_eq!(w.phase(task), "settled");
    &w.state.tasks[&task]
}

/// What each accepted replica got, the lowest first, and the platform.
fn paid(task: &Task) -> (Vec<i64>, i64) {
    let shares = &task.settlement.as_ref().unwrap().shares;
    let of = |role| {
        shares
            .iter()
            .filter(move |s| s.role == role)
            .map(|s| s.amount.0)
    };
    let mut compute: Vec<i64> = of(ShareRole::Compute).collect();
    compute.sort_unstable();
    (compute, of(ShareRole::Platform).sum())
}

#[test]
fn each_replica_earns_what_its_node_asked_for_at_the_lease() {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|n| w.node(n));
    for (node, asks) in nodes.iter().zip(["400000", "1000000", "0"]) {
        ask(&mut w, *node, asks);
    }
    let before = w.available(w.requester);
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let task = w.task(json!({"economics": by_ask("1000000"), "verification": sampling, "qos": {"max_latency_ms": 600_000}}));
    // The worst case is at the most that may be asked for.
    assert_eq!(w.state.tasks[&task].escrow, Amount(3_150_000 + 3_000));
    let leases = w.plan();
    assert_eq!(leases.len(), 3);
    // What it asks from here on is for what is placed from here on.
    ask(&mut w, nodes[0], "999999");
    for (_, assignment, _) in leases {
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
    }
    w.reveal_all(task, |_| json!({}));
    let (compute, platform) = paid(settled(&w, task));
    assert_eq!(compute, [0, 400_000, 1_000_000]);
    assert_eq!(platform, 70_000);
    assert_eq!(w.available(w.requester), before - 1_470_000);
    w.check_replay();
    documents_agree(&w, "asks");
}

#[test]
fn a_node_without_an_ask_works_for_no_task_that_pays_asks() {
    let mut w = World::new();
    let node = w.node("silent");
    let task = w.task(json!({"economics": by_ask("1000000")}));
    assert_eq!(w.plan(), []);
    let refused = |w: &World| {
        let (task, node) = (&w.state.tasks[&task], &w.state.nodes[&node]);
        refusal(&w.state, task, node, w.now)
    };
    assert_eq!(refused(&w), Some(Refused::NoAsk));
    ask(&mut w, node, "1000001");
    assert_eq!(refused(&w), Some(Refused::Price));
    assert_eq!(w.plan(), []);
    ask(&mut w, node, "1000000");
    assert_eq!(refused(&w), None);
    assert_eq!(w.plan().len(), 1);
    w.check_replay();
}

#[test]
fn an_ask_is_left_even_of_what_comes_late() {
    let mut w = World::new();
    let node = w.node("a");
    ask(&mut w, node, "500000");
    let mut economics = by_ask("1000000");
    economics["late_refund_ppm"] = 300_000.into();
    let overrides = json!({"economics": economics, "qos": {"max_latency_ms": 1_000}, "limits": {"runtime_s": 1}});
    let task = w.task(overrides);
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    w.later(1_001);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
    let leased = w.state.assignment(assignment).unwrap().1.price;
    // The least of which 500,000 are left without 30 %.
    assert_eq!(leased, Amount(714_285));
    let (compute, platform) = paid(settled(&w, task));
    assert_eq!((compute, platform), (vec![500_000], 35_714));
    // Nothing is certain where all of it comes back.
    let mut economics = by_ask("1000000");
    economics["late_refund_ppm"] = 1_000_000.into();
    w.task(json!({"economics": economics, "qos": {"max_latency_ms": 1_000}}));
    w.later(600_000);
    assert_eq!(w.plan(), []);
    w.check_replay();
    documents_agree(&w, "late-ask");
}

#[test]
fn usage_that_a_quorum_agrees_on_is_paid() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let pricing = json!({"base": "100", "per_gfuel": "2000000000", "per_mib_out": "1048576", "max_price": "1000000"});
    let task = w.task(json!({"economics": metered(pricing), "verification": sampling}));
    w.finish(task, |_| json!({"n": 1}));
    let (compute, _) = paid(settled(&w, task));
    // 1,000 units of fuel at 2 each, and 7 bytes of output and as many of result at 1 each.
    assert_eq!(compute, [100 + 2_000 + 14; 3]);
    w.check_replay();
    documents_agree(&w, "metered");
}

#[test]
fn one_nodes_word_of_what_it_used_ends_at_the_cap() {
    let mut w = World::new();
    w.node("a");
    let pricing = json!({"per_gfuel": "1000000", "max_price": "50000"});
    let economics = metered(pricing);
    let limits = json!({"fuel": "3000000", "runtime_s": 10});
    for (fuel, expected) in [(1_000_000, 1_000), (3_000_000, 3_000), (u64::MAX, 3_000)] {
        let task = w.task(json!({"economics": economics, "limits": limits}));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let mut run = w.run(assignment, json!({}), &[]);
        run.report.usage.fuel = Count(fuel);
        w.commit(&run);
        w.reveal(&run);
        // Never more fuel than was granted.
        assert_eq!(paid(settled(&w, task)).0, [expected], "{fuel}");
        w.later(600_000);
    }
    let task = w.task(json!({"economics": economics}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let mut run = w.run(assignment, json!({}), &[]);
    run.report.usage.fuel = Count(u64::MAX);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(paid(settled(&w, task)).0, [50_000]);
    w.check_replay();
    documents_agree(&w, "metered-alone");
}

#[test]
fn workgroups_are_paid_by_the_least_that_accepted_replicas_tell() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let pricing = json!({"per_mworkgroup": "1000000", "max_price": "900000"});
    let task = w.task(json!({"economics": metered(pricing), "verification": sampling, "qos": {"gpu": {}, "max_latency_ms": 600_000}}));
    let mut runs = Vec::new();
    for ((_, assignment, _), workgroups) in w.plan().into_iter().zip([70, 800_000]) {
        w.start(assignment);
        let mut run = w.run(assignment, json!({}), &[]);
        run.report.usage.gpu_workgroups = Count(workgroups);
        w.commit(&run);
        runs.push(run);
    }
    runs.iter().for_each(|run| drop(w.reveal(run)));
    assert_eq!(paid(settled(&w, task)).0, [70, 70]);
    w.check_replay();
    documents_agree(&w, "workgroups");
}

#[test]
fn a_metered_run_that_is_called_off_earns_its_part_of_the_cap() {
    let mut w = World::new();
    let node = w.node("a");
    let pricing = json!({"base": "10", "per_gfuel": "1000000", "max_price": "600000"});
    let task = w.task(json!({"economics": metered(pricing), "limits": {"runtime_s": 600}}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    w.later(60_000);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!(w.available(w.owner(node)), 60_000);
    w.check_replay();
    documents_agree(&w, "metered-cancelled");
}

#[test]
fn a_metered_task_is_certain_of_its_base_only() {
    let mut w = World::new();
    let node = w.node("a");
    ask(&mut w, node, "11");
    let pricing = |base: &str| json!({"base": base, "per_gfuel": "1000000", "max_price": "600000"});
    let low = w.task(json!({"economics": metered(pricing("10"))}));
    assert_eq!(w.plan(), []);
    let (task, of) = (&w.state.tasks[&low], &w.state.nodes[&node]);
    assert_eq!(refusal(&w.state, task, of, w.now), Some(Refused::Price));
    w.task(json!({"economics": metered(pricing("11"))}));
    assert_eq!(w.plan().len(), 1);
}

#[test]
fn prices_that_can_not_hold_are_refused() {
    let w = World::new();
    for (pricing, pointer) in [
        (json!({"mode": "fixed", "price": "-1"}), "price"),
        (json!({"mode": "ask", "max_price": "-1"}), "max_price"),
        (json!({"mode": "metered", "max_price": "5"}), "per_gfuel"),
        (
            json!({"mode": "metered", "per_gfuel": "-1", "max_price": "5"}),
            "per_gfuel",
        ),
        (
            json!({"mode": "metered", "per_mib_out": "1", "base": "6", "max_price": "5"}),
            "base",
        ),
    ] {
        let definition =
            w.definition(json!({"economics": {"budget": "100000", "pricing": pricing}}));
        let refused = aevir_platform::validate(&definition).unwrap_err();
        let expected = format!("`/economics/pricing/{pointer}`");
        assert!(refused.to_string().starts_with(&expected), "{refused}");
    }
    // A mode knows only its own fields.
    for pricing in [
        json!({"mode": "ask", "price": "1"}),
        json!({"mode": "metered", "per_gfuel": "1", "max_price": "5", "price": "1"}),
        json!({"mode": "by-the-hour", "price": "1"}),
    ] {
        let economics = json!({"budget": "1", "pricing": pricing});
        assert!(
            serde_json::from_value::<aevir_platform::definition::Economics>(economics).is_err()
        );
    }
}

#[test]
fn a_quote_goes_by_asks_and_by_the_fuel_that_is_expected() {
    let mut w = World::with_policy(immediate());
    let nodes = ["a", "b"].map(|n| w.node(n));
    ask(&mut w, nodes[0], "262144");
    ask(&mut w, nodes[1], "400000");
    let context = aevir_events::Context {
        time: Timestamp(w.now.0),
        actor: "system".into(),
        entropy: [1; 32],
        secret: aevir_events::LeaderSecret([7; 32]),
    };
    let fee = |w: &World, overrides: Value| {
        let definition = w.definition(overrides);
        quote(&w.state, w.requester, &definition, &context)
            .unwrap()
            .expected_fee
    };
    // 262,144 and, rounded up to a power of two, 524,288; and 5 %. What exactly others ask for is not told.
    let price = (262_144 + 524_288) / 2;
    assert_eq!(
        fee(&w, json!({"economics": by_ask("1100000")})),
        Amount(price + price / 20)
    );
    // Nobody who asks for so little: the most.
    assert_eq!(fee(&w, json!({"economics": by_ask("1000")})), Amount(1_050));
    let pricing = json!({"base": "500000", "per_gfuel": "1000", "max_price": "600000"});
    let expected =
        json!({"economics": metered(pricing.clone()), "qos": {"expected_fuel": "4000000000"}});
    assert_eq!(fee(&w, expected), Amount(504_000 + 25_200));
    assert_eq!(
        fee(&w, json!({"economics": metered(pricing)})),
        Amount(630_000)
    );
    let locked = LedgerAccount::Available(w.requester);
    assert_eq!(
        w.state.ledger.balance(locked).0,
        1_000_000_000,
        "quotes cost nothing"
    );
    assert!(
        !w.log
            .iter()
            .any(|r| matches!(r.event, Event::TaskCreated(_)))
    );
}

/// A second look is locked at the most that runs may ask for, and paid so, by whoever asks for less or publishes no ask.
#[test]
fn a_review_of_a_task_by_ask_is_paid_by_its_most() {
    let mut w = windowed();
    let nodes = ["a", "b", "c", "d"].map(|n| w.node(n));
    for (node, asks) in nodes.iter().zip(["400000", "500000", "600000", "700000"]) {
        ask(&mut w, *node, asks);
    }
    for node in &nodes[1..] {
        w.ok(Command::DrainNode { node: *node });
    }
    let task = w.task(json!({"economics": by_ask("1000000")}));
    w.finish(task, |_| json!(1));
    for node in &nodes[1..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    let bond = |bond| Command::Dispute {
        account: w.requester,
        task,
        reason: "it does not add up".into(),
        bond: Amount(bond),
    };
    // Three replicas at 1 AEV, and three attempt fees.
    let (short, enough) = (bond(3_002_999), bond(3_003_000));
    assert_eq!(w.refused(short), "bond-too-small");
    let before = w.available(w.requester);
    w.ok(enough);
    assert_eq!(w.available(w.requester), before - 3_003_000);
    let review = w.state.tasks[&task].review.by().unwrap();
    w.finish(review, |_| json!(1));
    assert_eq!(paid(&w.state.tasks[&review]).0, [1_000_000, 1_000_000]);
    assert_eq!(w.available(w.requester), before - 2_000_000);
    documents_agree(&w, "review-by-ask");
    w.check_replay();
}

/// The same by use: what fresh runs used, and never more than was locked.
#[test]
fn a_review_of_a_metered_task_is_paid_by_use() {
    let mut w = windowed();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let pricing = json!({"base": "5", "per_gfuel": "7000000", "max_price": "1000000"});
    let task = w.task(json!({"economics": metered(pricing)}));
    w.finish(task, |_| json!(1));
    let before = w.available(w.requester);
    w.ok(Command::Dispute {
        account: w.requester,
        task,
        reason: "it does not add up".into(),
        bond: Amount(3_003_000),
    });
    assert_eq!(w.available(w.requester), before - 3_003_000);
    let review = w.state.tasks[&task].review.by().unwrap();
    w.finish(review, |_| json!(1));
    // A run burns 1,000 units: 7 micro-AEV, and the base.
    assert_eq!(paid(&w.state.tasks[&review]).0, [12, 12]);
    assert_eq!(w.available(w.requester), before - 24);
    documents_agree(&w, "review-metered");
    w.check_replay();
}
