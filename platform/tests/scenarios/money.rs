//! Escrow, shares, refunds and points, to the unit.

use aevir_platform::{
    amount::Amount, command::Command, event::Track, ledger::LedgerAccount, policy::Policy,
    worst_case,
};
use serde_json::json;

use crate::{
    market::dataset,
    world::{AT_ONCE_MS, World, immediate, profile},
};

#[test]
fn a_deposit_is_booked_once() {
    let mut w = World::new();
    let account = w.account("a");
    let deposit = |amount, reference: &str| Command::Deposit {
        account,
        amount: Amount(amount),
        reference: reference.into(),
    };
    w.ok(deposit(5, "wire 1 of a"));
    assert_eq!(w.refused(deposit(5, "wire 1 of a")), "reference-used");
    assert_eq!(w.refused(deposit(0, "nothing")), "amount-not-positive");
    assert_eq!(w.refused(deposit(-5, "less")), "amount-not-positive");
    assert_eq!(
        w.refused(deposit(i64::MAX, "more than there is")),
        "amount-too-large"
    );
    assert_eq!(w.available(account), 5);
}

#[test]
fn the_escrow_is_the_worst_case_and_the_budget_its_cap() {
    let mut w = World::new();
    let policy = immediate();
    let content = dataset(&mut w, "set", 1).to_string();
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3}]);
    let data = json!([{"name": "a", "from": {"content": {"id": content}}}]);
    let price = |price: &str, budget: &str| json!({"budget": budget, "pricing": {"mode": "fixed", "price": price}});
    // (verification, data, price, worst case by hand)
    let rows = [
        (json!([]), json!([]), "1000000", 1_050_000 + 3_000),
        (sampling.clone(), json!([]), "1000000", 3_150_000 + 3_000),
        (sampling.clone(), data.clone(), "1000000", 3_450_000 + 3_000),
        (sampling, data, "0", 3_000 + 3_000),
    ];
    for (verification, data, unit, expected) in rows {
        let exact = json!({"verification": verification, "data": data, "economics": price(unit, &expected.to_string())});
        assert_eq!(
            worst_case(&w.definition(exact.clone()), &policy, Amount::ZERO),
            Some(Amount(expected))
        );
        let task = w.task(exact);
        assert_eq!(
            w.state.ledger.balance(LedgerAccount::Escrow(task)),
            Amount(expected)
        );
        let short = json!({"verification": verification, "data": data, "economics": price(unit, &(expected - 1).to_string())});
        assert_eq!(w.refused(w.submission(short)), "budget-too-small");
    }
    let poor = w.account("poor");
    w.push_module(poor);
    w.deposit(poor, 1_052_999);
    let definition = Box::new(w.definition(json!({})));
    let submit = Command::SubmitTask {
        requester: poor,
        definition,
    };
    assert_eq!(w.refused(submit.clone()), "insufficient-balance");
    w.deposit(poor, 1);
    w.ok(submit);
    assert_eq!(w.available(poor), 0);
    let huge = json!({"economics": price("9223372036854775807", "9223372036854775807"), "verification": [{"method": "sampling", "quorum": 2, "replicas": 3}]});
    assert_eq!(w.refused(w.submission(huge)), "definition-invalid");
}

#[test]
fn a_settlement_pays_compute_content_and_platform() {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|n| w.node(n));
    let light = dataset(&mut w, "light", 1);
    let heavy = dataset(&mut w, "heavy", 2);
    let before = w.available(w.requester);
    let data = json!([
        {"name": "l", "from": {"content": {"id": light.to_string()}}},
        {"name": "h", "from": {"content": {"id": heavy.to_string(), "file": "data.csv"}}},
    ]);
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let task = w.task(json!({"data": data, "verification": sampling}));
    w.finish(task, |_| json!({}));
    // 3 replicas of 1 AEV; content 10 % = 0.3 AEV at 1 : 2; platform 5 % = 0.15 AEV.
    for node in nodes {
        assert_eq!(w.available(w.owner(node)), 1_000_000);
        // 150 points minted: 20 % to content, the rest equally.
        assert_eq!(w.compute_points(w.owner(node)), 40);
    }
    let owner = |w: &World, content| w.state.contents[&content].owner;
    assert_eq!(
        (w.available(owner(&w, light)), w.available(owner(&w, heavy))),
        (100_000, 200_000)
    );
    assert_eq!(w.state.points(owner(&w, light), Track::Content), 10);
    assert_eq!(w.state.points(owner(&w, heavy), Track::Content), 20);
    assert_eq!(
        w.state.ledger.balance(LedgerAccount::Treasury),
        Amount(150_000)
    );
    assert_eq!(w.available(w.requester), before - 3_450_000);
    let settlement = w.state.tasks[&task].settlement.clone().unwrap();
    assert_eq!(
        (settlement.fee, settlement.refund),
        (Amount(3_450_000), Amount(3_000))
    );
    w.check_replay();
}

#[test]
fn a_free_task_moves_no_money_and_mints_no_points() {
    let policy = Policy {
        attempt_fee: Amount(0),
        ..immediate()
    };
    let mut w = World::with_policy(policy);
    w.node("a");
    let task =
        w.task(json!({"economics": {"budget": "0", "pricing": {"mode": "fixed", "price": "0"}}}));
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert!(w.state.points.is_empty());
    w.check_replay();
}

#[test]
fn a_task_keeps_the_policy_it_was_created_under() {
    let mut w = World::new();
    w.node("a");
    let task = w.task(json!({}));
    w.ok(Command::AdoptPolicy(Policy {
        platform_share_ppm: 500_000,
        ..Policy::default()
    }));
    w.finish(task, |_| json!({}));
    assert_eq!(
        w.state.ledger.balance(LedgerAccount::Treasury),
        Amount(50_000)
    );
    w.check_replay();
}

/// Two verdicts that fall due together take points from one account: the second sees what the first has left.
#[test]
fn verdicts_that_are_due_together_never_take_more_points_than_there_are() {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|name| {
        let owner = w.account(name);
        let slots = aevir_platform::command::NodeProfile {
            slots: 2,
            memory_mib: 8_192,
            ..profile(name)
        };
        w.node_of(owner, slots)
    });
    let sampled = json!({
        "verification": [{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}],
        "qos": {"max_latency_ms": AT_ONCE_MS},
    });
    let first = w.task(sampled.clone());
    w.finish(first, |_| json!({}));
    let silent = w.owner(nodes[0]);
    let before = w.compute_points(silent);
    assert!(
        before > 0 && before < 100,
        "one loss is half of it or 50: {before}"
    );
    let tasks = [w.task(sampled.clone()), w.task(sampled)];
    let mut runs = Vec::new();
    for (_, assignment, _) in w.plan() {
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
        runs.push(run);
    }
    assert_eq!(runs.len(), 6);
    for run in runs.iter().filter(|run| run.report.node != nodes[0]) {
        w.reveal(run);
    }
    w.later(600_000);
    while w.state.next_due().is_some_and(|due| due <= w.now) {
        w.ok(Command::Tick);
    }
    assert_eq!(tasks.map(|task| w.phase(task)), ["settled", "settled"]);
    assert_eq!(w.compute_points(silent), 0);
    w.check_replay();
}
