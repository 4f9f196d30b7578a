//! The assignment's id is the fencing token of every call of a node: what comes late, twice or from somebody else changes
//! nothing. And many calls in one request are answered apart, each as it would be by itself.

use aevir_wire::{
    Action, Artifact, Batch, BatchItem, BlobRef, Client, ClientError, Commit, Fail, NodeCall,
    Reveal, StopReason, digest,
};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{FakeNode, Outcome, until},
    single,
};

/// Every call about an assignment.
const CALLS: [&str; 10] = [
    "start",
    "commit",
    "reveal",
    "fail",
    "return",
    "output",
    "checkpoint",
    "get module",
    "get input",
    "get checkpoint",
];

/// What a node sends of a run.
struct Sent {
    commit: Commit,
    reveal: Reveal,
}

/// Makes a call; answers its code, or nothing where it was taken.
async fn call(what: &str, client: &Client, assignment: &str, sent: &Sent) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    let blob = BlobRef {
        digest: digest(b"test-module"),
        size: "1".into(),
    };
    let taken: Result<(), ClientError> = match what {
        "start" => client.start(assignment).await,
        "commit" => client.commit(assignment, &sent.commit).await,
        "reveal" => client.reveal(assignment, &sent.reveal).await,
        "fail" => client.fail(assignment, &failure()).await,
        "return" => client.give_back(assignment).await,
        "output" => client.put_output(assignment, "42").await.map(drop),
        "checkpoint" => client.save_checkpoint(assignment, "here").await.map(drop),
        "get module" => client
            .download_module(assignment, &blob, &to)
            .await
            .map(drop),
        "get input" => {
            let input = Artifact {
                name: "prompt".into(),
                digest: blob.digest,
                size: "1".into(),
            };
            client
                .download_input(assignment, &input, &to)
                .await
                .map(drop)
        }
        "get checkpoint" => client
            .download_checkpoint(assignment, &blob, &to)
            .await
            .map(drop),
        other => panic!("no call {other}"),
    };
    taken
        .err()
        .map(|error| error.code().unwrap_or("no code").to_owned())
}

/// What a call about an assignment that is not the node's own is answered. A report names its assignment, so that one under
/// another id is no report of that.
fn not_ones_own(what: &str) -> Option<&'static str> {
    Some(if what == "reveal" {
        "reveal-mismatch"
    } else {
        "unknown-assignment"
    })
}

fn failure() -> Fail {
    Fail {
        class: "host-error".into(),
        message: "disk".into(),
    }
}

fn sent_by(node: &FakeNode, lease: &aevir_wire::Lease) -> Sent {
    let outcome = Outcome::of(json!(1));
    let report = node.report(lease, &outcome);
    let commit = node.seal(&report);
    let result = outcome.result;
    Sent {
        commit,
        reveal: Reveal { report, result },
    }
}

#[tokio::test]
async fn what_comes_late_or_from_somebody_else_changes_nothing() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("owner of the lease").await;
    let data = json!([{"name": "prompt", "from": {"inline": "hello"}}]);
    let task = single(&module)
        .with("data", data)
        .submit(&requester.client)
        .await;
    let lease = node.lease().await;
    let sent = sent_by(&node, &lease);
    let thief = platform.node("thief").await;
    thief.appear().await;
    let forged = sent_by(&thief, &lease);
    let nonsense = "01J00000000000000000000009";
    for stage in ["leased", "running"] {
        let before = platform.size();
        for what in CALLS {
            let foreign = call(what, &thief.client, &lease.assignment, &forged).await;
            assert_eq!(
                foreign.as_deref(),
                Some("unknown-assignment"),
                "{what}, {stage}"
            );
            let unknown = call(what, &node.client, nonsense, &sent).await;
            assert_eq!(unknown.as_deref(), not_ones_own(what), "{what}, {stage}");
        }
        assert_eq!(
            thief.beat(&lease.assignment).await,
            Action::Stop {
                reason: StopReason::Unknown
            }
        );
        platform.assert_quiet_since(before).await;
        if stage == "leased" {
            node.client.start(&lease.assignment).await.unwrap();
        }
    }
    // The lease ends; whatever is still said under it comes late, also once the task is somebody else's.
    node.client
        .fail(&lease.assignment, &failure())
        .await
        .unwrap();
    let heir = thief.lease().await;
    for stage in ["taken over", "settled"] {
        let before = platform.size();
        for what in CALLS {
            let late = call(what, &node.client, &lease.assignment, &sent).await;
            assert_eq!(late.as_deref(), Some("lease-ended"), "{what}, {stage}");
            // Nor does the heir's token open anything to the one before.
            let stolen = call(what, &node.client, &heir.assignment, &sent).await;
            assert_eq!(stolen.as_deref(), not_ones_own(what), "{what}, {stage}");
        }
        assert_eq!(
            node.beat(&lease.assignment).await,
            Action::Stop {
                reason: StopReason::LeaseEnded
            }
        );
        platform.assert_quiet_since(before).await;
        if stage == "taken over" {
            let reveal = thief.run(&heir, &Outcome::of(json!(1))).await;
            thief.reveal(&reveal).await.unwrap();
            until(&requester.client, &task.id, "settled").await;
        }
    }
    platform.check_replay().await;
}

#[tokio::test]
async fn what_comes_twice_counts_once() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let nodes = [platform.node("a").await, platform.node("b").await];
    for node in &nodes {
        node.appear().await;
    }
    let task = single(&module)
        .sampled(2, 2, 2)
        .submit(&requester.client)
        .await;
    let mut all = Vec::new();
    for node in &nodes {
        let lease = node.lease().await;
        let sent = sent_by(node, &lease);
        let id = lease.assignment.clone();
        for what in ["start", "output", "commit"] {
            assert_eq!(call(what, &node.client, &id, &sent).await, None, "{what}");
            let before = platform.size();
            assert_eq!(
                call(what, &node.client, &id, &sent).await,
                None,
                "{what} again"
            );
            platform.assert_quiet_since(before).await;
        }
        // Another commitment, and what a sealed run has no use for.
        let other = node.seal(&node.report(&lease, &Outcome::of(json!(2))));
        platform
            .refused(node.client.commit(&id, &other), 409, "round-closed")
            .await;
        for what in ["start", "fail", "return", "checkpoint"] {
            let late = call(what, &node.client, &id, &sent).await;
            assert_eq!(late.as_deref(), Some("lease-ended"), "{what}");
        }
        all.push((id, sent));
    }
    let (id, first) = &all[0];
    assert_eq!(nodes[0].directive(id).await, Action::Reveal);
    assert_eq!(call("reveal", &nodes[0].client, id, first).await, None);
    let before = platform.size();
    assert_eq!(
        call("reveal", &nodes[0].client, id, first).await,
        None,
        "again"
    );
    platform.assert_quiet_since(before).await;
    // The other's reveal is not the first node's to make.
    let foreign = call("reveal", &nodes[0].client, &all[1].0, &all[1].1).await;
    assert_eq!(foreign.as_deref(), Some("unknown-assignment"));
    assert_eq!(
        call("reveal", &nodes[1].client, &all[1].0, &all[1].1).await,
        None
    );
    until(&requester.client, &task.id, "settled").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let tasks = [
        single(&module).submit(&requester.client).await.id,
        single(&module).submit(&requester.client).await.id,
    ];
    let leases: [aevir_wire::Lease; 2] = loop {
        let ask = aevir_wire::Ask {
            max: 2,
            wait_ms: 500,
            ..aevir_wire::Ask::default()
        };
        let leases = node.client.lease(&ask).await.unwrap().leases;
        if let Ok(both) = leases.try_into() {
            break both;
        }
    };
    let ids = leases.each_ref().map(|lease| lease.assignment.clone());
    let batch = |calls: Vec<(&str, NodeCall)>| {
        let item = |(assignment, call): (&str, NodeCall)| BatchItem {
            assignment: assignment.to_owned(),
            call,
        };
        let items = calls.into_iter().map(item).collect();
        let client = node.client.clone();
        async move {
            let answers = client.node_batch(&Batch { items }).await.unwrap().answers;
            let code = |answer: aevir_wire::BatchAnswer| answer.problem.map(|p| p.code);
            answers.into_iter().map(code).collect::<Vec<_>>()
        }
    };
    let (first, second) = (ids[0].as_str(), ids[1].as_str());
    let nonsense = "nonsense";
    let started = batch(vec![
        (first, NodeCall::Start),
        (nonsense, NodeCall::Start),
        (second, NodeCall::Start),
    ])
    .await;
    assert_eq!(started, [None, Some("unknown-assignment".into()), None]);
    let mut sents = Vec::new();
    for lease in &leases {
        node.client
            .put_output(&lease.assignment, "42")
            .await
            .unwrap();
        sents.push(sent_by(&node, lease));
    }
    let bad = Commit {
        signature: "00".repeat(64),
        ..sents[1].commit.clone()
    };
    let committed = batch(vec![
        (first, NodeCall::Commit(sents[0].commit.clone())),
        (second, NodeCall::Commit(bad)),
    ])
    .await;
    assert_eq!(committed, [None, Some("bad-signature".into())]);
    let mixed = batch(vec![
        (
            first,
            NodeCall::Reveal(Box::new(Reveal {
                ..sents.remove(0).reveal
            })),
        ),
        (second, NodeCall::Fail(failure())),
    ])
    .await;
    assert_eq!(mixed, [None, None]);
    let ended = [
        requester.client.task(&tasks[0]).await.unwrap().state,
        requester.client.task(&tasks[1]).await.unwrap().state,
    ];
    assert!(ended.contains(&"settled".to_owned()), "{ended:?}");
    let key = Some(node.key.expose());
    let many = vec![json!({"assignment": first, "call": "start"}); 65];
    for items in [json!([]), json!(many)] {
        let body = json!({"items": items}).to_string();
        let path = "/v1/node/assignments";
        platform
            .refuse((Method::POST, path), key, body, (422, "field-invalid"))
            .await;
    }
    platform.check_replay().await;
}
