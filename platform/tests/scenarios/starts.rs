//! What quotes say of when a task starts and what it costs.

use aevir_platform::{
    amount::Amount,
    command::{Command, NodeProfile},
    definition::TaskType,
    ids::{AccountId, NodeId},
    terms::{NodeTerms, WEEK_MIN, Window, minute_of_week},
};
use serde_json::{Value, json};

use crate::{
    quotes::quoted,
    world::{World, profile},
};

fn with_machine(slots: u32) -> (World, NodeId) {
    let mut w = World::new();
    let owner = w.account("owner");
    let machine = NodeProfile {
        slots,
        cpu_cores: slots,
        memory_mib: 4_096,
        storage_mib: 65_536,
        ..profile("m")
    };
    let node = w.node_of(owner, machine);
    (w, node)
}

fn requester(w: &mut World, name: &str) -> AccountId {
    let account = w.account(name);
    w.deposit(account, 1_000_000_000);
    w.push_module(account);
    account
}

fn submit(w: &mut World, requester: AccountId, terms: Value) {
    let definition = Box::new(w.definition(terms));
    w.ok(Command::SubmitTask {
        requester,
        definition,
    });
}

#[test]
fn a_refund_for_late_results_does_not_undo_the_rounding_of_asks() {
    let fees = |ask: i64| {
        let (mut w, node) = with_machine(4);
        let terms = Box::new(NodeTerms {
            asks: TaskType::ALL.map(|kind| (kind, Amount(ask))).into(),
            ..NodeTerms::default()
        });
        w.ok(Command::ChangeTerms { node, terms });
        let fee = |ppm: u32| {
            quoted(&w, json!({
                "qos": {"max_latency_ms": 60_000},
                "economics": {"budget": "900000000", "late_refund_ppm": ppm, "pricing": {"mode": "ask", "max_price": "60000000"}},
            }))
            .expected_fee
        };
        // Where the two asks grossed up cross a power of two, and around it.
        (300_000..450_000).step_by(997).map(fee).collect::<Vec<_>>()
    };
    // Both are between the same two powers of two.
    assert_eq!(fees(654_321), fees(700_001));
    assert_ne!(fees(654_321), fees(1_100_000));
}

#[test]
fn a_quote_goes_by_the_ends_of_what_runs_and_by_what_waits_before_it() {
    let (mut w, _) = with_machine(2);
    let hour = json!({"limits": {"runtime_s": 3_600}});
    let minute = json!({"limits": {"runtime_s": 60}});
    let after = |w: &World| quoted(w, minute.clone()).starts_at.unwrap().0 - w.now.0;
    assert_eq!(after(&w), 0);
    w.task(hour.clone());
    assert_eq!(w.plan().len(), 1);
    assert_eq!(after(&w), 0, "one slot is free");
    w.later(600_000);
    w.task(hour.clone());
    assert_eq!(w.plan().len(), 1);
    assert_eq!(after(&w), 3_000_000, "the first run ends at its limit");
    // One who waits takes that slot; then the other run ends.
    let other = requester(&mut w, "other");
    w.later(60_000);
    submit(&mut w, other, hour);
    w.later(60_000);
    assert_eq!(after(&w), 3_480_000);
}

#[test]
fn a_quote_of_a_node_that_is_closed_waits_for_its_hours() {
    let (mut w, node) = with_machine(2);
    let minute = minute_of_week(w.now);
    let from_min = (minute + 60) % (WEEK_MIN - 60);
    let hours = vec![Window {
        from_min,
        to_min: from_min + 60,
    }];
    let terms = Box::new(NodeTerms {
        hours,
        ..NodeTerms::default()
    });
    w.ok(Command::ChangeTerms { node, terms });
    let starts = quoted(&w, json!({})).starts_at.unwrap();
    assert!(starts > w.now);
    assert_eq!(minute_of_week(starts), from_min);
}

#[test]
fn a_node_that_is_kept_free_starts_others_once_that_task_has_had_its_time() {
    let (mut w, _) = with_machine(3);
    let of = |mib: u64, s: u64| json!({"limits": {"memory_mib": mib, "runtime_s": s}});
    let other = requester(&mut w, "other");
    (0..2).for_each(|_| submit(&mut w, other, of(1_500, 3_600)));
    assert_eq!(w.plan().len(), 2);
    let large = requester(&mut w, "large");
    submit(&mut w, large, of(4_096, 600));
    w.later(300_000);
    w.plan();
    let kept = w.state.tasks.values().filter(|t| t.reserved.is_some());
    assert_eq!(kept.count(), 1);
    let quote = quoted(&w, of(64, 3_600));
    // The two have 55 minutes left, and the one that waits takes ten.
    let wait_ms = quote.starts_at.unwrap().0 - w.now.0;
    assert_eq!(wait_ms, 3_300_000 + 600_000);
}
