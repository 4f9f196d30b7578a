//! IntelliPoints over HTTP: they fade, are explained, and are rewarded.

use std::time::Duration;

use aevir_platform::policy::Policy;
use aevir_wire::{Client, PointsExplanation};
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

/// Short enough for one to close while a test waits.
const EPOCH_MS: u32 = 1_000;

fn policy(policy: &mut Policy) {
    policy.scheduling.epoch_ms = EPOCH_MS;
    policy.points.keep_ppm = 900_000;
    policy.rewards.pool_ppm = 500_000;
}

/// Thousandths of a point.
fn thousandths(points: &str) -> i64 {
    let (whole, part) = points.split_once('.').unwrap();
    assert_eq!(part.len(), 3);
    whole.parse::<i64>().unwrap() * 1_000 + part.parse::<i64>().unwrap()
}

/// Every step leads to the next, on each track.
fn adds_up(explained: &PointsExplanation) {
    for track in &explained.tracks {
        let changes = explained.changes.iter().filter(|c| c.track == track.track);
        let mut has = 0;
        for change in changes {
            let delta: i64 = change.delta.parse().unwrap();
            has += 1_000 * delta - thousandths(&change.faded);
            assert_eq!(has, thousandths(&change.after), "{change:?}");
        }
        assert_eq!(has, thousandths(&track.last));
        let left = has - thousandths(&track.faded);
        assert_eq!(left, thousandths(&track.points));
    }
}

/// Waits until there is something to claim.
async fn claimable(client: &Client) -> aevir_wire::Rewards {
    let found = async {
        loop {
            let rewards = client.rewards().await.unwrap();
            if !rewards.parts.is_empty() {
                return rewards;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(15), found);
    found.await.unwrap()
}

async fn rewarded(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let owner = &node.owner;
    for answer in 1..=2 {
        let task = single(&module).submit(&requester.client).await.id;
        node.work(&Outcome::of(json!(answer))).await;
        until(&requester.client, &task, "settled").await;
        let open = claimable(owner).await;
        // More may have become open meanwhile.
        let claimed = owner.claim_rewards().await.unwrap();
        assert_eq!(claimed.parts[0], open.parts[0]);
        assert_ne!(claimed.amount, "0");
        let twice = owner.claim_rewards().await;
        platform
            .refused(async { twice }, 409, "nothing-to-claim")
            .await;
    }
    let nothing = requester.client.claim_rewards().await;
    platform
        .refused(async { nothing }, 409, "nothing-to-claim")
        .await;
    platform.level().await;
    let explained = owner.explain_points(None, None).await.unwrap();
    adds_up(&explained);
    assert_eq!(explained.changes.len(), 2);
    let [first, second] = &explained.changes[..] else {
        unreachable!()
    };
    assert_eq!((first.epochs, first.faded.as_str()), (0, "0.000"));
    assert!(second.epochs > 0 && second.faded != "0.000", "{second:?}");
    let foreign = owner.explain_points(Some(&requester.id), None);
    platform.refused(foreign, 403, "scope-missing").await;
    let account = owner.account().await.unwrap().account;
    let seen = platform.admin.explain_points(Some(&account), None).await;
    adds_up(&seen.unwrap());
    let by_track = platform.admin.points(Some("compute"), None).await.unwrap();
    assert_eq!(by_track.accounts[0].account, account);
    let epochs = owner.epochs(None).await.unwrap().epochs;
    assert!(epochs.iter().any(|e| e.reward.is_some()), "{epochs:?}");
    let closed = epochs.iter().filter(|e| e.closed_at.is_some());
    assert!(
        closed
            .into_iter()
            .all(|e| e.points_keep_ppm == Some(900_000))
    );
    platform
        .refuse(
            (reqwest::Method::GET, "/v1/points?track=fame"),
            Some(requester.key.as_str()),
            "",
            (400, "query-invalid"),
        )
        .await;
    platform.check_replay().await;
}

#[tokio::test]
async fn points_fade_and_are_rewarded_on_sqlite() {
    rewarded(TestPlatform::builder().policy(policy).start().await).await;
}

#[tokio::test]
async fn points_fade_and_are_rewarded_on_postgres() {
    rewarded(
        TestPlatform::builder()
            .policy(policy)
            .postgres()
            .start()
            .await,
    )
    .await;
}
