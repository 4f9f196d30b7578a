//! Crowded markets: small tasks and large ones compete for nodes, and some are kept free for the large ones. `World` holds every plan
//! equal to the specification.

use std::collections::BTreeSet;

use aevir_platform::{
    command::Command,
    event::Event,
    ids::NodeId,
    policy::{Policy, ReservePolicy},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use crate::{
    placement::check,
    random_market::{Ask, Machine, Market, Step, Terms},
    sample::documents_agree,
};

/// Nodes with room for several small runs, or for one that needs nearly all of it.
fn roomy() -> impl Strategy<Value = Machine> {
    (2usize..6, 2u32..5).prop_map(|(owner, slots)| Machine {
        owner,
        slots,
        memory: 1_024,
        region: 0,
        class: None,
        f16: false,
        mfuel_s: 0,
        ask: 0,
        terms: Terms::Any,
    })
}

/// Small tasks and large ones come and go, and time passes.
fn crowd() -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    let task = (
        0usize..4,
        prop_oneof![5 => 0u32..2, 1 => Just(3u32)],
        1u32..60,
        1u32..3,
    );
    let task = task.prop_map(|(requester, memory, runtime_s, replicas)| {
        Step::Submit(Ask {
            requester,
            kind: 1,
            memory: 128 << memory,
            region: 9,
            gpu: 9,
            replicas,
            priority: 0,
            runtime_s,
            latency_ms: None,
        })
    });
    prop_oneof![
        40 => task,
        30 => Just(Step::Plan),
        8 => (500u16..3_000).prop_map(Step::Later),
        20 => index().prop_map(Step::Start),
        20 => index().prop_map(Step::Commit),
        20 => index().prop_map(Step::Reveal),
        1 => index().prop_map(Step::Lose),
        2 => index().prop_map(Step::Flip),
    ]
}

/// A market in which tasks soon wait for long.
fn crowded(machines: &[Machine], reserve: (u32, u32, u32)) -> Market {
    // Runs that end soon take a node that is kept free, and others do not.
    let mut policy = Policy::default();
    let (most, looks_max, nodes_max) = reserve;
    policy.scheduling.reserve = ReservePolicy {
        after_ms: 1_000,
        most,
        looks_max,
        nodes_max,
        idle_max_ms: 50_000,
    };
    policy.accept_ms = 1_000;
    policy.scheduling.leases.fetch_ms = 1_000;
    policy.scheduling.leases.slack_ms = 1_000;
    policy.scheduling.epoch_ms = 60_000;
    Market::new(machines, policy)
}

/// Nodes that were kept free.
fn reservations(market: &Market) -> usize {
    let log = market.w.log.iter();
    log.filter(|r| matches!(r.event, Event::TaskReserved(_)))
        .count()
}

/// Runs that were placed on a node that was kept free for another task.
fn backfilled(market: &Market) -> usize {
    let mut kept = std::collections::BTreeMap::new();
    let mut count = 0;
    for recorded in &market.w.log {
        match &recorded.event {
            Event::TaskReserved(e) => {
                kept.retain(|_, task| *task != e.task);
                kept.insert(e.node, e.task);
            }
            Event::AssignmentLeased(e) => {
                count += usize::from(kept.get(&e.node).is_some_and(|task| *task != e.task));
                kept.retain(|_, task| *task != e.task);
            }
            Event::TaskClosed(e) => kept.retain(|_, task| *task != e.task),
            _ => {}
        }
    }
    count
}

/// Of random crowded markets some keep nodes free, and place on them what ends before: else the tests of them would prove nothing.
#[test]
fn crowded_markets_keep_nodes_free() {
    let mut runner = TestRunner::deterministic();
    let markets = (
        prop::collection::vec(roomy(), 1..4),
        prop::collection::vec(crowd(), 120),
    );
    let (mut reserved, mut between) = (0, 0);
    for _ in 0..12 {
        let (machines, steps) = markets.new_tree(&mut runner).unwrap().current();
        let mut market = crowded(&machines, (16, 16, 64));
        steps.into_iter().for_each(|step| market.take(step));
        reserved += reservations(&market);
        between += backfilled(&market);
    }
    assert!(reserved > 3, "{reserved} in twelve markets");
    assert!(between > 0, "none of {reserved}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nodes_are_kept_free_as_the_specification_says(
        machines in prop::collection::vec(roomy(), 1..5),
        steps in prop::collection::vec(crowd(), 60..160),
        reserve in (1u32..4, 1u32..4, 1u32..4),
    ) {
        let mut market = crowded(&machines, reserve);
        for step in steps {
            market.take(step);
            check(&market.w);
            let kept = market.w.state.tasks.values().filter_map(|task| task.reserved);
            let kept: Vec<NodeId> = kept.collect();
            let nodes: BTreeSet<&NodeId> = kept.iter().collect();
            prop_assert_eq!(kept.len(), nodes.len(), "a node is kept free for one task");
        }
        market.w.check_replay();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
    #[test]
    fn the_documents_alone_explain_crowded_markets(
        machines in prop::collection::vec(roomy(), 1..4),
        steps in prop::collection::vec(crowd(), 100..160),
        reserve in (1u32..4, 1u32..4, 1u32..4),
    ) {
        let mut market = crowded(&machines, reserve);
        steps.into_iter().for_each(|step| market.take(step));
        market.w.later(60_000);
        market.w.ok(Command::Tick);
        documents_agree(&market.w, "crowded");
    }
}
