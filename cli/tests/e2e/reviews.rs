//! Adaptive samples, disputes and reviews, with real servers and nodes: a cheat that stands alone at first is found out, pays for it,
//! and the audit and the independent script explain the log.

use std::time::{Duration, Instant};

use aevir_wire::{
    AdaptivePolicy, ChangeStake, Client, Deposit, OpenAccount, Policy, Secret, SettlementPolicy,
    Task, VerificationPolicy,
};
use serde_json::{Value, json};

use crate::{
    nodes_under_load::explained,
    platform::TestPlatform,
    protocol::{FakeNode, Outcome},
};

/// Long enough for everything here.
const WINDOW_MS: u32 = 600_000;
/// What the cheat puts up, in micro-AEV: three times the price of ten results.
const STAKE: i64 = 3_000_000;
/// What is locked for one result.
const LOCKED: i64 = 300_000;

/// A platform on which trusted results stand alone unless they are drawn, which happens so often; and newcomers are trusted.
async fn platform(floor_ppm: u32) -> TestPlatform {
    let platform = TestPlatform::start().await;
    let policy = platform.admin.policy().await.unwrap().policy;
    let adaptive = AdaptivePolicy {
        cheat_saving_ppm: 0,
        floor_ppm,
        trusted_ppm: 0,
        // Only what is caught or disputed is looked at again.
        vouched: false,
        ..policy.verification.adaptive
    };
    let policy = Policy {
        settlement: SettlementPolicy {
            window_ms: WINDOW_MS,
        },
        verification: VerificationPolicy {
            adaptive,
            ..policy.verification
        },
        ..policy
    };
    platform.admin.adopt_policy(&policy).await.unwrap();
    platform
}

/// A node that speaks the protocol and makes its results up, with a stake.
async fn cheat(platform: &TestPlatform) -> FakeNode {
    let request = OpenAccount {
        name: "cheat".into(),
        scopes: None,
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    let deposit = Deposit {
        amount: STAKE.to_string(),
        reference: "the cheat's".into(),
    };
    platform
        .admin
        .deposit(&opened.account, &deposit)
        .await
        .unwrap();
    let owner = platform.admin.with_key(Secret::from_text(opened.key));
    let node = FakeNode::join(&platform.url, &owner, "cheat").await;
    let amount = STAKE.to_string();
    owner
        .stake(&node.id, &ChangeStake { amount })
        .await
        .unwrap();
    node.appear().await;
    node
}

fn adaptive() -> Value {
    json!({"verification": [{"method": "sampling", "replicas": 3, "quorum": 2, "adaptive": true}]})
}

async fn staked(node: &FakeNode) -> i64 {
    let shown = node.owner.node(&node.id).await.unwrap();
    shown.stake.unwrap().amount.parse().unwrap()
}

async fn pending(owner: &Client) -> i64 {
    owner.account().await.unwrap().pending.parse().unwrap()
}

/// A made-up result that stands alone.
async fn lie(platform: &TestPlatform, cheat: &FakeNode, number: u32) -> Task {
    let task = platform.echo(json!({"message": number}), adaptive()).await;
    let lease = cheat.work(&Outcome::of(json!("made up"))).await;
    assert_eq!(lease.task, task.id);
    let task = platform.ended(&task.id).await;
    assert_eq!(
        (task.state.as_str(), task.sample.as_str()),
        ("settled", "alone")
    );
    task
}

/// The task once its verdict was looked at again.
async fn reviewed(platform: &TestPlatform, id: &str) -> Task {
    let started = Instant::now();
    loop {
        let task = platform.requester.task(id).await.unwrap();
        let state = task.review.as_ref().map(|review| review.state.as_str());
        if matches!(state, Some("upheld" | "overturned" | "undecided")) {
            return task;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{task:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_result_that_stands_alone_is_disputed_and_costs_its_maker() {
    let mut platform = platform(0).await;
    let cheat = cheat(&platform).await;
    let before: i64 = available(&platform).await;
    let task = lie(&platform, &cheat, 1).await;
    assert_eq!(
        before - available(&platform).await,
        105_000,
        "paid for one replica"
    );
    let _honest = [platform.node(&[]).await, platform.node(&[]).await];
    let args = ["task", "dispute", &task.id, "--reason", "not my message"];
    let too_little = platform.aevir(&[&args[..], &["--bond", "1000"]].concat());
    assert!(too_little.unwrap_err().contains("bond-too-small"));
    let said = platform.aevir(&[&args[..], &["--bond", "1000000", "--output", "json"]].concat());
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    assert_eq!(said["bond"], "303000", "{said}");
    let task = reviewed(&platform, &task.id).await;
    assert_eq!(task.state, "overturned", "{task:#?}");
    let review = platform.ended(said["review"].as_str().unwrap()).await;
    assert_eq!(review.reviews.as_deref(), Some(task.id.as_str()));
    assert!(review.assignments.iter().all(|a| a.node != cheat.id));
    // The requester has all back, the platform's share, too, and reads the right result.
    assert_eq!(before - available(&platform).await, 0);
    let right = platform.requester.task_result(&review.id).await.unwrap();
    assert_eq!(right.result["params"]["message"], 1);
    assert_eq!(staked(&cheat).await, STAKE - LOCKED);
    assert_eq!(pending(&cheat.owner).await, 0);
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lie_that_is_caught_has_the_others_run_again() {
    let mut platform = platform(0).await;
    let cheat = cheat(&platform).await;
    let lies = [
        lie(&platform, &cheat, 1).await,
        lie(&platform, &cheat, 2).await,
    ];
    assert_eq!(pending(&cheat.owner).await, 200_000);
    // A full sample, of which it makes one result up.
    let sample = json!({"verification": [{"method": "sampling", "replicas": 3, "quorum": 2}]});
    let task = platform.echo(json!({"message": 3}), sample).await;
    let lying = cheat.clone();
    let made_up = tokio::spawn(async move { lying.work(&Outcome::of(json!("made up"))).await });
    let honest = [platform.node(&[]).await, platform.node(&[]).await];
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    assert_eq!(made_up.await.unwrap().task, task.id);
    for lie in &lies {
        let lie = reviewed(&platform, &lie.id).await;
        assert_eq!(lie.state, "overturned", "{lie:#?}");
    }
    assert_eq!(pending(&cheat.owner).await, 0);
    let unused = 2 * 3_000;
    assert_eq!(staked(&cheat).await, STAKE - 2 * LOCKED + unused);
    let shown = cheat.owner.node(&cheat.id).await.unwrap();
    assert!(shown.suspended.is_some(), "the third refused result");
    for node in &honest {
        assert_eq!(pending(&node.owner).await, 300_000, "one and two again");
    }
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_result_that_is_drawn_is_refused_and_costs_its_maker_at_once() {
    let mut platform = platform(1_000_000).await;
    let cheat = cheat(&platform).await;
    let task = platform.echo(json!({"message": 1}), adaptive()).await;
    let lying = cheat.clone();
    let made_up = tokio::spawn(async move { lying.work(&Outcome::of(json!("made up"))).await });
    let wanted = |task: &Task| task.sample == "repeated";
    platform.task_when(&task.id, "repeated", wanted).await;
    let _honest = [platform.node(&[]).await, platform.node(&[]).await];
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    made_up.await.unwrap();
    assert_eq!(staked(&cheat).await, STAKE - LOCKED);
    assert_eq!(pending(&cheat.owner).await, 0);
    explained(&platform).await;
}

async fn available(platform: &TestPlatform) -> i64 {
    let account = platform.requester.account().await.unwrap();
    account.available.parse().unwrap()
}
