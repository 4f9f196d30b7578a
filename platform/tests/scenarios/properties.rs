//! What must hold whatever happens: random lives of a small platform. `World` checks the books after each
//! command; here the money is also counted by a naive model, and the whole is replayed.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Recorded;
use aevir_platform::{
    command::Availability,
    event::{Event, ShareRole},
    ids::{AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    terms::NodeTerms,
};
use proptest::prelude::*;

use crate::{
    lives::{Lives, WINDOW_MS, step},
    world::World,
};

/// What must hold at the end, told from the events alone.
fn check(w: &World) {
    w.check_replay();
    let mut settlements: BTreeMap<TaskId, u32> = BTreeMap::new();
    // In thousandths, and what there was of them and of money for them as epochs closed.
    let mut points: BTreeMap<_, i64> = BTreeMap::new();
    let mut pools = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    let mut money: BTreeMap<_, i64> = BTreeMap::new();
    for recorded in &w.log {
        match &recorded.event {
            Event::TaskSettled(e) => *settlements.entry(e.task).or_default() += 1,
            Event::TaskClosed(e) => *settlements.entry(e.task).or_default() += 1,
            Event::PointsChanged(e) => {
                *points.entry((e.account, e.track)).or_default() += 1_000 * e.delta.0;
            }
            Event::EpochClosed(e) => {
                let all: i64 = points.values().sum();
                pools.extend(e.reward.map(|reward| {
                    assert_eq!(reward.points.0, all.unsigned_abs());
                    (e.epoch, (reward.amount.0, points.clone()))
                }));
                for held in points.values_mut() {
                    *held = *held * i64::from(e.points_keep_ppm) / 1_000_000;
                }
            }
            Event::RewardsClaimed(e) => {
                for part in &e.parts {
                    let (amount, then) = &pools[&part.epoch];
                    let all: i64 = then.values().sum();
                    let had = then
                        .iter()
                        .filter(|((account, _), _)| *account == e.account);
                    let had: i64 = had.map(|(_, points)| points).sum();
                    assert_eq!(part.points.0, had.unsigned_abs());
                    let due = i128::from(*amount) * i128::from(had) / i128::from(all);
                    assert_eq!(i128::from(part.amount.0), due);
                    assert!(claimed.insert((e.account, part.epoch)), "once");
                }
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
        let owners: BTreeSet<_> = replicas().map(|a| w.owner(a.node)).collect();
        assert_eq!(owners.len(), replicas().count(), "one owner, one replica");
        if let Some(of) = &task.review_of {
            let involved = of.involved.iter().map(|node| w.owner(*node));
            assert!(owners.is_disjoint(&involved.collect()), "fresh owners");
        }
        if let Some(of) = &task.inspects {
            let involved = of.involved.iter().map(|node| w.owner(*node));
            assert!(owners.is_disjoint(&involved.collect()), "third parties");
        }
        if let Some(settlement) = &task.settlement {
            assert!(settlement.fee <= task.definition.economics.budget);
        }
    }
    let mut pending: BTreeMap<_, i64> = BTreeMap::new();
    for task in w.state.tasks.values() {
        let is_paid = matches!(task.phase.name(), "settled" | "unmet");
        if !is_paid || task.matured_at().is_some() {
            continue;
        }
        let settlement = task.settlement.as_ref().unwrap();
        let due = task.ended_at.unwrap().plus_ms(WINDOW_MS.into());
        assert_eq!(settlement.matures_at, Some(due));
        assert_eq!(task.maturing().is_none(), task.review.is_awaited());
        *pending.entry(task.requester).or_default() += settlement.held.0;
        for share in &settlement.shares {
            if matches!(
                share.role,
                ShareRole::Compute | ShareRole::Content | ShareRole::Royalty
            ) {
                *pending.entry(share.account.unwrap()).or_default() += share.amount.0;
            }
        }
    }
    for account in w.state.accounts.keys() {
        let held = w.state.ledger.balance(LedgerAccount::Pending(*account)).0;
        assert_eq!(held, pending.remove(account).unwrap_or_default());
    }
    for (account, amount) in money {
        assert_eq!(w.state.ledger.balance(account).0, amount);
    }
    for ((account, track), sum) in points {
        let held = w.state.points[&account].thousandths_on(track);
        assert_eq!(held, sum.unsigned_abs());
        assert_eq!(w.state.points(account, track), sum / 1_000);
    }
}

/// What the operators and administrators decided so far, as the events tell it.
#[derive(Default)]
struct Decided {
    /// Draining, leaving, left or revoked.
    out: BTreeSet<NodeId>,
    online: BTreeSet<NodeId>,
    terms: BTreeMap<NodeId, NodeTerms>,
    /// Public names of accounts, nodes and modules.
    suspended: BTreeSet<String>,
    open: BTreeMap<NodeId, BTreeSet<AssignmentId>>,
}

impl Decided {
    fn fold(&mut self, event: &Event) {
        match event {
            Event::NodeDrained(e) => drop(self.out.insert(e.node)),
            Event::NodeResumed(e) => drop(self.out.remove(&e.node)),
            Event::NodeRevoked(e) => drop(self.out.insert(e.node)),
            Event::AvailabilityChanged(e) if e.availability == Availability::Online => {
                self.online.insert(e.node);
            }
            Event::AvailabilityChanged(e) => drop(self.online.remove(&e.node)),
            Event::TermsChanged(e) => drop(self.terms.insert(e.node, e.terms.clone())),
            Event::AccountSuspended(e) => drop(self.suspended.insert(e.account.to_string())),
            Event::NodeSuspended(e) => drop(self.suspended.insert(e.node.to_string())),
            Event::ModuleSuspended(e) => drop(self.suspended.insert(e.module.to_string())),
            Event::AccountReleased(e) => drop(self.suspended.remove(&e.account.to_string())),
            Event::NodeReleased(e) => drop(self.suspended.remove(&e.node.to_string())),
            Event::ModuleReleased(e) => drop(self.suspended.remove(&e.module.to_string())),
            _ => {}
        }
    }

    /// Nothing is placed against any of it, and nobody leaves with something open.
    fn check(&mut self, w: &World, recorded: &Recorded<Event>) {
        match &recorded.event {
            Event::AssignmentLeased(e) => {
                let (node, task) = (&w.state.nodes[&e.node], &w.state.tasks[&e.task]);
                assert!(self.online.contains(&e.node) && !self.out.contains(&e.node));
                // What looks at something old is placed whoever asked for it.
                let requester = (!task.looks_back()).then(|| task.requester.to_string());
                let names = [
                    e.node.to_string(),
                    node.owner.to_string(),
                    task.definition.module.to_string(),
                ];
                let mut names = names.into_iter().chain(requester);
                assert!(names.all(|name| !self.suspended.contains(&name)));
                let terms = self.terms.entry(e.node).or_default();
                assert!(terms.is_open(recorded.time));
                let ask = terms.ask(task.definition.kind);
                assert!(task.definition.economics.pricing.max_price() >= ask);
                let open = self.open.entry(e.node).or_default();
                open.insert(e.assignment);
                // Each of these machines has one slot.
                let most = terms.caps.runs.unwrap_or(1).min(1) as usize;
                assert!(open.len() <= most, "{open:?}");
            }
            Event::AssignmentCommitted(e) => self.closed(e.assignment),
            Event::AssignmentFailed(e) => self.closed(e.assignment),
            Event::AssignmentLost(e) => self.closed(e.assignment),
            Event::AssignmentReturned(e) => self.closed(e.assignment),
            Event::AssignmentWithdrawn(e) => self.closed(e.assignment),
            Event::NodeLeft(e) => {
                assert!(self.open.get(&e.node).is_none_or(BTreeSet::is_empty));
            }
            _ => {}
        }
        self.fold(&recorded.event);
    }

    fn closed(&mut self, assignment: AssignmentId) {
        for open in self.open.values_mut() {
            open.remove(&assignment);
        }
    }
}

/// Follows the log beside the machine, knowing only what was decided about nodes.
fn check_placements(w: &World) {
    let mut decided = Decided::default();
    w.log.iter().for_each(|recorded| decided.check(w, recorded));
}

/// Steps of one life at most; half of it on average.
const STEPS_MAX: usize = 160;
/// Lives of an ordinary run.
const CASES: u32 = 48;

/// `AEVIR_OPERATIONS=1000000` makes it about so many steps in all.
fn cases() -> u32 {
    let asked = std::env::var("AEVIR_OPERATIONS").ok();
    asked.map_or(CASES, |text| {
        let operations: usize = text.parse().expect("AEVIR_OPERATIONS is a number");
        u32::try_from(operations.div_ceil(STEPS_MAX / 2)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn the_books_balance_whatever_happens(steps in prop::collection::vec(step(), 1..STEPS_MAX)) {
        let mut lives = Lives::new();
        for step in steps {
            lives.take(step);
        }
        check(&lives.world);
        check_placements(&lives.world);
        crate::pace::check(&lives.world);
    }
}
