//! Points fade with every epoch, and its pool is for who has them at its end.

use std::collections::BTreeMap;

use aevir_events::Recorded;
use aevir_platform::{
    amount::{Amount, Count},
    command::{Command, Scope},
    event::{Event, RewardPart, Track},
    ids::{AccountId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::{PointsPolicy, Policy, RewardsPolicy},
};
use serde_json::json;

use crate::{
    market::dataset,
    sample::documents_agree,
    world::{World, immediate, labels},
};

const EPOCH_MS: i64 = 3_600_000;

/// A market whose points halve with each epoch, of which half of the fees go to pools that can be claimed for two epochs.
fn policy() -> Policy {
    let base = immediate();
    Policy {
        points: PointsPolicy {
            keep_ppm: 500_000,
            ..base.points
        },
        rewards: RewardsPolicy {
            pool_ppm: 500_000,
            claim_epochs: 2,
        },
        ..base
    }
}

fn close(w: &mut World) -> Vec<Event> {
    w.later(EPOCH_MS);
    w.ok(Command::Tick)
}

/// Three nodes of three owners, each with 50 points, and the content's owner with none.
fn settled(w: &mut World) -> [NodeId; 3] {
    let nodes = ["a", "b", "c"].map(|n| w.node(n));
    run(w);
    nodes
}

fn run(w: &mut World) -> TaskId {
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let task = w.task(json!({"verification": sampling}));
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    task
}

fn pool(w: &World, epoch: u32) -> i64 {
    w.state.ledger.balance(LedgerAccount::Pool(epoch)).0
}

fn claim(w: &mut World, account: AccountId) -> Vec<RewardPart> {
    let events = w.ok(Command::ClaimRewards { account });
    assert_eq!(
        labels(&events),
        ["account.rewards_claimed", "ledger.posted"]
    );
    match &events[0] {
        Event::RewardsClaimed(e) => e.parts.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_epoch_multiplies_all_points_by_one_factor() {
    let mut w = World::with_policy(policy());
    let [a, ..] = settled(&mut w);
    let owner = w.owner(a);
    assert_eq!(w.compute_points(owner), 50);
    let changes = w.log.len();
    let shown: Vec<i64> = (0..8)
        .map(|_| {
            close(&mut w);
            w.compute_points(owner)
        })
        .collect();
    // Thousandths are kept: 50, 25, 12.5, 6.25, 3.125, 1.562, ...
    assert_eq!(shown, [25, 12, 6, 3, 1, 0, 0, 0]);
    let points = |event: &Recorded<Event>| matches!(event.event, Event::PointsChanged(_));
    assert!(!w.log[changes..].iter().any(points), "one event an epoch");
    w.check_replay();
    documents_agree(&w, "fading");
}

#[test]
fn what_is_lost_is_of_what_has_faded() {
    let mut w = World::with_policy(policy());
    let [a, ..] = settled(&mut w);
    close(&mut w);
    close(&mut w);
    let owner = w.owner(a);
    assert_eq!(
        w.state.points[&owner].thousandths_on(Track::Compute),
        12_500
    );
    let task = w.task(json!({}));
    let (_, assignment, node) = w.plan()[0];
    let owner = w.owner(node);
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.later(600_000);
    w.ok(Command::Tick);
    assert_ne!(w.phase(task), "settled");
    // At least 50 of 12.5: all whole ones.
    assert_eq!(w.state.points[&owner].thousandths_on(Track::Compute), 500);
    w.check_replay();
    documents_agree(&w, "faded-loss");
}

#[test]
fn a_pool_is_shared_by_the_points_at_its_epochs_end_and_claimed_once() {
    let mut w = World::with_policy(policy());
    let nodes = settled(&mut w);
    let owners = nodes.map(|n| w.owner(n));
    assert_eq!(
        w.refused(Command::ClaimRewards { account: owners[0] }),
        "nothing-to-claim",
        "while the epoch is open"
    );
    let events = close(&mut w);
    assert_eq!(
        labels(&events),
        ["epoch.closed", "ledger.posted", "epoch.opened"]
    );
    // Half of 150,000, for 150 points.
    assert_eq!(pool(&w, 1), 75_000);
    assert_eq!(w.state.ledger.balance(LedgerAccount::Treasury).0, 75_000);
    let before = w.available(owners[0]);
    let parts = claim(&mut w, owners[0]);
    let part = RewardPart {
        epoch: 1,
        points: Count(50_000),
        amount: Amount(25_000),
    };
    assert_eq!(parts, [part]);
    assert_eq!(w.available(owners[0]), before + 25_000);
    assert_eq!(
        w.refused(Command::ClaimRewards { account: owners[0] }),
        "nothing-to-claim",
        "twice"
    );
    assert_eq!(
        w.refused(Command::ClaimRewards {
            account: w.requester
        }),
        "nothing-to-claim",
        "without points"
    );
    // An epoch without fees has no pool; one more with fees, whose points are those of its own end.
    assert_eq!(labels(&close(&mut w)), ["epoch.closed", "epoch.opened"]);
    run(&mut w);
    let task =
        w.task(json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": 2}]}));
    w.finish(task, |_| json!({}));
    close(&mut w);
    // Pool 1 was open for two epochs: what two others left of it is the treasury's again.
    assert_eq!(pool(&w, 1), 0);
    assert_eq!(pool(&w, 3), 125_000);
    let mut claims: Vec<i64> = owners
        .iter()
        .map(|owner| claim(&mut w, *owner).iter().map(|p| p.amount.0).sum())
        .collect();
    // All three had 12.5 left of their 50 and earned 50 more, two of them 50 once more.
    let ends = [112_500, 112_500, 62_500];
    let mut expected = ends.map(|end: i64| 125_000 * end / ends.iter().sum::<i64>());
    claims.sort_unstable();
    expected.sort_unstable();
    assert_eq!(claims, expected);
    assert!(pool(&w, 3) < 3, "what rounding left");
    close(&mut w);
    let events = close(&mut w);
    let posted = events.iter().find_map(|e| match e {
        Event::LedgerPosted(e) => Some(e.postings.clone()),
        _ => None,
    });
    let left = 125_000 - expected.iter().sum::<i64>();
    assert_eq!(posted.map(|p| p[0].amount.0), (left > 0).then_some(-left));
    assert_eq!(pool(&w, 3), 0);
    w.check_replay();
    documents_agree(&w, "pools");
}

#[test]
fn a_claim_takes_all_open_pools_whatever_changed_since() {
    let base = policy();
    let mut w = World::with_policy(Policy {
        rewards: RewardsPolicy {
            pool_ppm: 500_000,
            claim_epochs: 10,
        },
        ..base
    });
    let nodes = settled(&mut w);
    let owner = w.owner(nodes[0]);
    let mut expected = BTreeMap::new();
    for epoch in 1..=6u32 {
        // In some epochs the points change, in others they only fade.
        if epoch % 2 == 1 {
            run(&mut w);
        } else {
            let content = dataset(&mut w, &format!("set {epoch}"), 1).to_string();
            let data = json!([{"name": "s", "from": {"content": {"id": content}}}]);
            let task = w.task(json!({"data": data}));
            w.finish(task, |_| json!({}));
        }
        let mine = w.state.points[&owner].thousandths();
        let all: u128 = w.state.points.values().map(|p| p.thousandths()).sum();
        close(&mut w);
        let pool = u128::try_from(pool(&w, epoch)).unwrap();
        expected.insert(epoch, (mine, pool * mine / all));
    }
    let parts = claim(&mut w, owner);
    let found: BTreeMap<u32, (u128, u128)> = parts
        .iter()
        .map(|p| {
            (
                p.epoch,
                (p.points.0.into(), u128::try_from(p.amount.0).unwrap()),
            )
        })
        .collect();
    assert_eq!(found, expected);
    w.check_replay();
    documents_agree(&w, "claims");
}

#[test]
fn who_may_claim() {
    let mut w = World::with_policy(policy());
    let nodes = settled(&mut w);
    let account = w.owner(nodes[0]);
    close(&mut w);
    let can = |k: &aevir_platform::state::Key| {
        k.account == account && k.scopes.contains(&Scope::NodesWrite)
    };
    let keys = w.state.keys.iter().filter(|(_, key)| can(key));
    let keys: Vec<_> = keys.map(|(id, _)| *id).collect();
    for key in keys {
        w.ok(Command::RevokeKey { account, key });
    }
    assert_eq!(
        w.refused(Command::ClaimRewards { account }),
        "not-permitted"
    );
}

#[test]
fn a_policy_keeps_pools_and_fading_within_bounds() {
    let mut w = World::new();
    let with = |pool_ppm, claim_epochs, keep_ppm| {
        let base = immediate();
        Command::AdoptPolicy(Policy {
            points: PointsPolicy {
                keep_ppm,
                ..base.points
            },
            rewards: RewardsPolicy {
                pool_ppm,
                claim_epochs,
            },
            ..base
        })
    };
    for (pool_ppm, claim_epochs, keep_ppm) in [
        (500_001, 1, 1_000_000),
        (0, 0, 1_000_000),
        (0, 401, 1_000_000),
        (0, 1, 499_999),
        (0, 1, 1_000_001),
    ] {
        let policy = with(pool_ppm, claim_epochs, keep_ppm);
        assert_eq!(w.refused(policy), "policy-invalid");
    }
    w.ok(with(500_000, 400, 500_000));
    w.ok(with(0, 1, 1_000_000));
}
