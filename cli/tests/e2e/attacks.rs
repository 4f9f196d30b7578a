//! Attacks on a real server beside real and honest nodes. The attacker holds a node's keys and speaks the protocol as it
//! likes; each time its victim's task ends right, the attacker gets nothing by it, and the audit and the independent script
//! explain the log.

use std::time::Duration;

use aevir_wire::{Action, Client, ClientError, Lease, OpenAccount, Policy, Reveal, Secret};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    nodes_under_load::explained,
    platform::{TestPlatform, echo_definition},
    protocol::{FakeNode, Outcome},
};

/// How long a node that has committed has for its reveal.
const REVEAL_MS: u32 = 4_000;

/// A platform that waits for reveals only shortly.
async fn platform() -> TestPlatform {
    let platform = TestPlatform::start().await;
    let policy = platform.admin.policy().await.unwrap().policy;
    let policy = Policy {
        reveal_ms: REVEAL_MS,
        ..policy
    };
    platform.admin.adopt_policy(&policy).await.unwrap();
    platform
}

async fn account(platform: &TestPlatform, name: &str) -> Client {
    let request = OpenAccount {
        name: name.into(),
        scopes: None,
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    platform.admin.with_key(Secret::from_text(opened.key))
}

async fn attacker(platform: &TestPlatform) -> FakeNode {
    let owner = account(platform, "attacker").await;
    let node = FakeNode::join(&platform.url, &owner, "attacker").await;
    node.appear().await;
    node
}

/// Asserts that a call was refused under a code.
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, code: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.code(), Some(code), "{error}");
}

/// What the node's owner has and is owed, in micro-AEV.
async fn wealth(owner: &Client) -> i64 {
    let account = owner.account().await.unwrap();
    let parsed = |text: &str| text.parse::<i64>().unwrap();
    parsed(&account.available) + parsed(&account.pending)
}

fn sample() -> Value {
    json!({"verification": [{"method": "sampling", "replicas": 3, "quorum": 2}]})
}

/// The commitments that the log holds for a task, by node.
async fn commitments(platform: &TestPlatform, task: &str) -> Vec<Value> {
    let mut lines = platform.admin.events(0, None, false).await.unwrap();
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().await {
        let entry: Value = serde_json::from_slice(&line.unwrap()).unwrap();
        if entry["type"] == "assignment.committed" && entry["data"]["task"] == task {
            found.push(entry["data"].clone());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn who_copies_a_commitment_has_nothing_to_reveal() {
    let mut platform = platform().await;
    let honest = platform.node(&[]).await;
    let task = platform.echo(json!({"message": 1}), sample()).await;
    // Replicas are drawn one after the other: who is to copy comes second.
    let sealed = |t: &aevir_wire::Task| t.assignments.iter().any(|a| a.state == "committed");
    platform.task_when(&task.id, "committed", sealed).await;
    let thief = attacker(&platform).await;
    let lease = thief.lease().await;
    thief.client.start(&lease.assignment).await.unwrap();
    let [committed] = &commitments(&platform, &task.id).await[..] else {
        panic!("one commitment");
    };

    // More than any node is told: the attacker has read the log.
    let report = thief.report(&lease, &Outcome::of(json!(1)));
    let mut commit = thief.seal(&report);
    commit.commitment = committed["commitment"].as_str().unwrap().to_owned();
    refused(
        thief.client.commit(&lease.assignment, &commit).await,
        "bad-signature",
    );
    let mut copied = [0; 32];
    hex::decode_to_slice(&commit.commitment, &mut copied).unwrap();
    let commit = thief.sign(copied);
    thief
        .client
        .commit(&lease.assignment, &commit)
        .await
        .unwrap();
    assert_eq!(thief.directive(&lease.assignment).await, Action::Reveal);
    let reveal = Reveal {
        report,
        result: json!(1),
    };
    refused(
        thief.client.reveal(&lease.assignment, &reveal).await,
        "reveal-mismatch",
    );

    let second = platform.node(&[]).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let of = |node: &str| {
        let found = task.assignments.iter().find(|a| a.node == node);
        found.unwrap().state.clone()
    };
    assert_eq!(
        (of(&honest.id), of(&second.id)),
        ("accepted".into(), "accepted".into())
    );
    assert!(["refused", "lost"].contains(&of(&thief.id).as_str()));
    assert_eq!(wealth(&thief.owner).await, 0);
    let records = thief.client.node(&thief.id).await.unwrap().records;
    let record = records.values().next().unwrap();
    assert_ne!(record.classes["cpu"].bad_thousandths, 0, "{record:?}");
    explained(&platform).await;
}

/// Starts a lease and reports on it.
async fn begun(node: &FakeNode, lease: &Lease, outcome: &Outcome) -> aevir_wire::Report {
    node.client.start(&lease.assignment).await.unwrap();
    for (_, bytes) in &outcome.outputs {
        let put = node.client.put_output(&lease.assignment, bytes.clone());
        put.await.unwrap();
    }
    node.report(lease, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_foreign_and_repeated_submissions_earn_nothing_more() {
    let mut platform = platform().await;
    let node = attacker(&platform).await;
    let first = platform.echo(json!({"message": 1}), json!({})).await;
    let second = platform.echo(json!({"message": 2}), json!({})).await;
    let outcome = Outcome::of(json!({"any": "thing"}));
    let one = node.lease().await;
    let report = begun(&node, &one, &outcome).await;
    let two = node.lease().await;
    let other = begun(&node, &two, &outcome).await;
    assert_eq!((&one.task, &two.task), (&first.id, &second.id));

    let mut forger = node.clone();
    forger.sign_with(SigningKey::from_bytes(&rand::random()));
    let forged = node
        .client
        .commit(&one.assignment, &forger.seal(&report))
        .await;
    refused(forged, "bad-signature");

    // The first task's result for the second.
    let commit = node.seal(&report);
    node.client.commit(&two.assignment, &commit).await.unwrap();
    assert_eq!(node.directive(&two.assignment).await, Action::Reveal);
    let reveal = Reveal {
        report: report.clone(),
        result: outcome.result.clone(),
    };
    refused(
        node.client.reveal(&two.assignment, &reveal).await,
        "reveal-mismatch",
    );
    let late = Reveal {
        report: other,
        result: outcome.result.clone(),
    };
    refused(
        node.client.reveal(&two.assignment, &late).await,
        "reveal-mismatch",
    );

    // The same again and again is one submission.
    for _ in 0..3 {
        node.client.commit(&one.assignment, &commit).await.unwrap();
    }
    assert_eq!(node.directive(&one.assignment).await, Action::Reveal);
    node.client.reveal(&one.assignment, &reveal).await.unwrap();
    let settled = platform.ended(&first.id).await;
    assert_eq!(settled.state, "settled");
    refused(
        node.client.reveal(&one.assignment, &reveal).await,
        "lease-ended",
    );
    refused(
        node.client.commit(&one.assignment, &commit).await,
        "lease-ended",
    );
    assert_eq!(wealth(&node.owner).await, 100_000, "one price");

    // The second is done by somebody else, once the attacker has not revealed it.
    let _honest = platform.node(&[]).await;
    let task = platform.ended(&second.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    assert_eq!(task.assignments[0].state, "lost", "{task:#?}");
    assert_eq!(wealth(&node.owner).await, 100_000);
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_checkpoint_costs_a_run_and_not_the_task() {
    let mut platform = platform().await;
    let poisoner = attacker(&platform).await;
    let task = platform.echo(json!({"spin": 20}), json!({})).await;
    let lease = poisoner.lease().await;
    poisoner.client.start(&lease.assignment).await.unwrap();
    let saved = poisoner.client.save_checkpoint(&lease.assignment, "poison");
    saved.await.unwrap();
    // And then it is silent.
    let honest = [platform.node(&[]).await, platform.node(&[]).await];
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let runs: Vec<_> = task
        .assignments
        .iter()
        .map(|a| (a.state.as_str(), a.checkpoint_author.as_deref()))
        .collect();
    assert_eq!(
        runs,
        [
            ("lost", None),
            ("failed", Some(poisoner.id.as_str())),
            ("accepted", None)
        ]
    );
    assert!(
        honest
            .iter()
            .any(|node| node.id == task.assignments[2].node)
    );
    assert_eq!(wealth(&poisoner.owner).await, 0);
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_nothing_passes_is_no_free_compute() {
    let mut platform = platform().await;
    let node = platform.node(&[]).await;
    let before = wealth(&platform.requester).await;
    let impossible = json!({"verification": [
        {"method": "check", "bounds": [{"metric": "accuracy", "at_least": "2"}]}
    ]});
    let params = json!({"metrics": {"accuracy": 0.9}});
    let task = platform.echo(params, impossible).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "unmet", "{task:#?}");
    assert_eq!(wealth(&node.owner).await, 100_000);
    assert_eq!(before - wealth(&platform.requester).await, 105_000);
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_his_own_node_loses_money() {
    let platform = platform().await;
    // An accomplice's account, for one's own nodes get none of one's tasks.
    let accomplice = attacker(&platform).await;
    let own = FakeNode::join(&platform.url, &platform.requester, "own").await;
    own.appear().await;
    let both = || async { wealth(&platform.requester).await + wealth(&accomplice.owner).await };
    let before = both().await;
    let module = platform.push_echo().await;
    for number in 0..5 {
        let definition = echo_definition(&module, json!({"message": number}), json!({}));
        let task = platform.requester.submit_task(&definition, None).await;
        let task = task.unwrap();
        let lease = accomplice.work(&Outcome::of(json!("made up"))).await;
        assert_eq!(lease.task, task.id);
        assert_eq!(platform.ended(&task.id).await.state, "settled");
    }
    let lost = before - both().await;
    assert_eq!(lost, 5 * 5_000, "the platform's share of each");
    let ask = aevir_wire::Ask {
        max: 1,
        wait_ms: Duration::from_millis(100).as_millis() as u32,
        ..aevir_wire::Ask::default()
    };
    assert!(own.client.lease(&ask).await.unwrap().leases.is_empty());
    explained(&platform).await;
}
