//! What must hold whatever happens: random lives of a small platform. `World` checks the books after each
//! command; here the money is also counted by a naive model, and the whole is replayed.

use std::collections::BTreeMap;

use aevir_platform::{event::Event, ids::TaskId};
use proptest::prelude::*;

use crate::{
    lives::{Lives, step},
    world::World,
};

/// What must hold at the end, told from the events alone.
fn check(w: &World) {
    w.check_replay();
    let mut settlements: BTreeMap<TaskId, u32> = BTreeMap::new();
    let mut points: BTreeMap<_, i64> = BTreeMap::new();
    let mut money: BTreeMap<_, i64> = BTreeMap::new();
    for recorded in &w.log {
        match &recorded.event {
            Event::TaskSettled(e) => *settlements.entry(e.task).or_default() += 1,
            Event::TaskClosed(e) => *settlements.entry(e.task).or_default() += 1,
            Event::PointsChanged(e) => {
                *points.entry((e.account, e.track)).or_default() += e.delta.0
            }
            Event::LedgerPosted(e) => {
                for posting in &e.postings {
                    *money.entry(posting.account).or_default() += posting.amount.0;
                }
            }
            _ => {}
        }
    }
    for task in w.state.tasks.values() {
        let ended = u32::from(task.phase.is_final());
        assert_eq!(
            settlements.get(&task.id).copied().unwrap_or_default(),
            ended
        );
        let replicas = || task.assignments.values().filter(|a| a.is_replica());
        let owners: std::collections::BTreeSet<_> = replicas().map(|a| w.owner(a.node)).collect();
        assert_eq!(owners.len(), replicas().count(), "one owner, one replica");
        if let Some(settlement) = &task.settlement {
            assert!(settlement.fee <= task.definition.economics.budget);
        }
    }
    for (account, amount) in money {
        assert_eq!(w.state.ledger.balance(account).0, amount);
    }
    for ((account, track), sum) in points {
        assert_eq!(w.state.points(account, track), sum);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_books_balance_whatever_happens(steps in prop::collection::vec(step(), 1..160)) {
        let mut lives = Lives::new();
        for step in steps {
            lives.take(step);
        }
        check(&lives.world);
    }
}
