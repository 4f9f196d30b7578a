//! `max_latency_ms`: misses are recorded, charged to whom they are due, and refunded by the task's terms.

use aevir_platform::{
    amount::Amount,
    command::Command,
    event::Event,
    ids::TaskId,
    ledger::LedgerAccount,
    state::{could_be_in_time, needed_ms},
};
use serde_json::{Value, json};

use crate::{sample::documents_agree, world::World};

/// Two replicas at 1 AEV; a quarter comes back when a second was missed.
fn hurried(w: &mut World) -> TaskId {
    w.task(json!({
        "verification": [{"method": "sampling", "quorum": 2, "replicas": 2}],
        "qos": {"max_latency_ms": 1_000},
        "economics": {"budget": "9000000", "pricing": {"mode": "fixed", "price": "1000000"}, "late_refund_ppm": 250_000},
    }))
}

fn treasury(w: &World) -> Amount {
    w.state.ledger.balance(LedgerAccount::Treasury)
}

/// Commits both replicas so many ms after their lease, one after the other, and reveals them.
fn finish_after(w: &mut World, task: TaskId, ms: [i64; 2]) {
    let mut passed = 0;
    let mut runs = Vec::new();
    for ((_, assignment, _), ms) in w.plan().into_iter().zip(ms) {
        w.start(assignment);
        w.later(ms - passed);
        passed = ms;
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
        runs.push(run);
    }
    assert_eq!(runs.len(), 2);
    for run in &runs {
        w.reveal(run);
    }
    assert_eq!(w.phase(task), "settled");
    w.check_replay();
}

#[test]
fn the_node_that_took_too_long_gets_less_and_nobody_else() {
    let mut w = World::new();
    let nodes = ["a", "b"].map(|name| w.node(name));
    let before = w.available(w.requester);
    let task = hurried(&mut w);
    finish_after(&mut w, task, [900, 1_300]);
    let mut paid = nodes.map(|node| w.available(w.owner(node)));
    paid.sort_unstable();
    assert_eq!(paid, [750_000, 1_000_000]);
    assert_eq!(treasury(&w), Amount(100_000));
    assert_eq!(before - w.available(w.requester), 1_850_000);
    let verdict = w.state.tasks[&task].verdict.as_ref().unwrap();
    assert!(verdict.late);
    let mut records = nodes.map(|node| w.outcomes(node));
    records.sort_unstable();
    assert_eq!(
        records,
        [(0, 0), (1_000, 0)],
        "a second was never to be kept"
    );
}

/// A minute that a run may take, a second for its one small output, and five to prepare.
const FAIR_MS: u32 = 66_000;

#[test]
fn it_counts_against_a_node_only_where_it_could_have_been_in_time() {
    for (max_latency_ms, counted) in [(FAIR_MS - 1, 0), (FAIR_MS, 1_000)] {
        let mut w = World::new();
        let node = w.node("a");
        // What is asked for costs nothing, so that it could be asked of anybody.
        let task = w.task(json!({
            "qos": {"max_latency_ms": max_latency_ms},
            "limits": {"runtime_s": 60},
            "economics": {"budget": "9000000", "pricing": {"mode": "fixed", "price": "0"}},
        }));
        let (_, run, _) = w.plan()[0];
        w.start(run);
        w.later(i64::from(max_latency_ms) + 1);
        let run = w.run(run, json!({}), &[]);
        w.commit(&run);
        w.reveal(&run);
        assert!(w.state.tasks[&task].verdict.as_ref().unwrap().late);
        assert_eq!(w.outcomes(node), (0, counted), "{max_latency_ms}");
        w.check_replay();
        documents_agree(&w, "fair-latency");
    }
}

#[test]
fn a_run_may_take_all_its_time_and_fetch_before() {
    let fair = |ms: Option<u32>, moved| could_be_in_time(ms, needed_ms(600, moved));
    let bound = [607_999, 608_000].map(|ms| fair(Some(ms), 3));
    assert_eq!(bound, [false, true]);
    assert!(fair(None, u64::MAX));
    assert!(!fair(Some(u32::MAX), u64::MAX));
}

#[test]
fn time_without_a_leader_is_nobodys() {
    for (absent_ms, late) in [(0, true), (1_000, true), (1_001, false), (u64::MAX, false)] {
        let mut w = World::new();
        let node = w.node("a");
        let task = w.task(json!({
            "qos": {"max_latency_ms": FAIR_MS},
            "limits": {"runtime_s": 60},
            "economics": {"budget": "9000000", "pricing": {"mode": "fixed", "price": "1000000"}, "late_refund_ppm": 500_000},
        }));
        let (_, run, _) = w.plan()[0];
        w.start(run);
        w.later(i64::from(FAIR_MS) + 1_001);
        let run = w.run(run, json!({}), &[]);
        let sealed = w.commit_after(&run, absent_ms);
        let told = sealed.iter().find_map(|event| match event {
            Event::AssignmentCommitted(e) => Some(e.absent_ms.0),
            _ => None,
        });
        assert_eq!(told, Some(absent_ms.min(u64::from(FAIR_MS) + 1_001)));
        w.reveal(&run);
        let (good, bad) = w.outcomes(node);
        assert_eq!((good > 0, bad > 0), (!late, late), "{absent_ms}");
        let settlement = w.state.tasks[&task].settlement.as_ref().unwrap();
        let paid = settlement
            .shares
            .iter()
            .find(|share| share.node == Some(node));
        assert_eq!(
            paid.unwrap().amount,
            Amount(if late { 500_000 } else { 1_000_000 })
        );
        w.check_replay();
        documents_agree(&w, "absent-leader");
    }
}

#[test]
fn a_task_that_waited_costs_the_platform_and_no_node() {
    let mut w = World::new();
    let task = hurried(&mut w);
    w.later(600);
    let nodes = ["a", "b"].map(|name| w.node(name));
    finish_after(&mut w, task, [700, 900]);
    assert_eq!(nodes.map(|node| w.available(w.owner(node))), [1_000_000; 2]);
    assert_eq!(treasury(&w), Amount(75_000));
}

#[test]
fn in_time_everybody_gets_all_of_it() {
    let mut w = World::new();
    let nodes = ["a", "b"].map(|name| w.node(name));
    let task = hurried(&mut w);
    finish_after(&mut w, task, [10, 1_000]);
    assert_eq!(nodes.map(|node| w.available(w.owner(node))), [1_000_000; 2]);
    assert_eq!(treasury(&w), Amount(100_000));
    assert!(!w.state.tasks[&task].verdict.as_ref().unwrap().late);
}

#[test]
fn terms_that_can_not_be_kept_are_refused() {
    let mut w = World::new();
    let economics = |ppm: u32| json!({"budget": "9000000", "pricing": {"mode": "fixed", "price": "1000000"}, "late_refund_ppm": ppm});
    let qos = json!({"max_latency_ms": 100});
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    w.ok(w.submission(json!({"runtime": "fast/1"})));
    let refused: [Value; 5] = [
        json!({"runtime": "fast/1", "verification": sampling}),
        json!({"qos": {"max_latency_ms": 0}}),
        json!({"qos": {"max_latency_ms": 99}}),
        json!({"economics": economics(1_000_001), "qos": qos}),
        json!({"economics": economics(1)}),
    ];
    for definition in refused {
        assert_eq!(w.refused(w.submission(definition)), "definition-invalid");
    }
    let all_of_it = json!({"economics": economics(1_000_000), "qos": qos});
    w.ok(w.submission(all_of_it));
}

#[test]
fn an_ask_is_held_against_what_is_certain() {
    let mut w = World::new();
    let node = w.node("a");
    let mut terms = w.state.nodes[&node].terms.clone();
    let kind = w.definition(json!({})).kind;
    terms.asks.insert(kind, Amount(750_000));
    w.ok(Command::ChangeTerms {
        node,
        terms: Box::new(terms),
    });
    let economics = |ppm: u32| json!({"budget": "9000000", "pricing": {"mode": "fixed", "price": "1000000"}, "late_refund_ppm": ppm});
    let qos = json!({"max_latency_ms": 10_000});
    let risky = w.task(json!({"economics": economics(250_001), "qos": qos}));
    assert!(w.plan().is_empty());
    let why = aevir_platform::schedule::why(&w.state, &w.state.tasks[&risky], w.now);
    assert_eq!(why.refused.keys().next().unwrap().code(), "price");
    let certain = w.task(json!({"economics": economics(250_000), "qos": qos}));
    let placed: Vec<_> = w.plan().into_iter().map(|(task, ..)| task).collect();
    assert_eq!(placed, [certain]);
    w.check_replay();
    documents_agree(&w, "certain-pay");
}
