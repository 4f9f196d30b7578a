//! A replica that decides a disagreement learns nothing of what the others found, however much it reads.

use aevir_wire::{Client, ClientError, OpenAccount, Secret, Task};
use serde_json::json;

use crate::{
    nodes_under_load::explained,
    platform::TestPlatform,
    protocol::{FakeNode, Outcome},
};

/// An account, with the scopes of a new one or with these.
async fn account(platform: &TestPlatform, name: &str, scopes: Option<&[&str]>) -> Client {
    let request = OpenAccount {
        name: name.into(),
        scopes: scopes.map(|all| all.iter().map(ToString::to_string).collect()),
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    platform.admin.with_key(Secret::from_text(opened.key))
}

async fn attacker(platform: &TestPlatform, name: &str) -> FakeNode {
    let owner = account(platform, name, None).await;
    let node = FakeNode::join(&platform.url, &owner, name).await;
    node.appear().await;
    node
}

/// All that whoever may read the log is told.
async fn log(reader: &Client) -> String {
    let mut lines = reader.events(0, None, false).await.unwrap();
    let mut read = String::new();
    while let Some(line) = lines.next_line().await {
        read += std::str::from_utf8(&line.unwrap()).unwrap();
    }
    read
}

/// What would tell somebody what the runs of a task brought.
fn digests(task: &Task) -> Vec<String> {
    let reports = task.assignments.iter().filter_map(|a| a.report.as_ref());
    let of = |report: &aevir_wire::Report| {
        let outputs = report.outputs.iter().map(|o| o.digest.clone());
        let others = [report.result.digest.clone(), report.salt.clone()];
        outputs.chain(others).collect::<Vec<_>>()
    };
    reports.flat_map(of).collect()
}

fn not_there<T: std::fmt::Debug>(answer: Result<T, ClientError>) {
    assert_eq!(answer.unwrap_err().code(), Some("unknown-blob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_replica_has_nothing_to_copy() {
    let mut platform = TestPlatform::start().await;
    let mut honest = platform.node(&[]).await;
    let liar = attacker(&platform, "liar").await;
    let sample = json!({
        "verification": [{"method": "sampling", "replicas": 3, "quorum": 2}],
        "retry": {"max_attempts": 5},
    });
    let task = platform.echo(json!({"message": "cat"}), sample).await;
    let lease = liar.lease().await;
    let lie = Outcome::of(json!("dog"));
    let reveal = liar.run(&lease, &lie).await;
    liar.reveal(&reveal).await.unwrap();
    let disagreed = platform
        .task_when(&task.id, "in its second round", |t| t.round == 2)
        .await;

    // Nobody has the right one any more, and a thief comes who may read the whole log.
    assert!(honest.stop());
    let thief = attacker(&platform, "thief").await;
    let auditor = account(&platform, "auditor", Some(&["audit", "read"])).await;
    let lease = thief.lease().await;
    assert_eq!(lease.task, task.id);
    thief.client.start(&lease.assignment).await.unwrap();
    let read = log(&auditor).await;
    assert!(read.contains("assignment.shown") && read.contains("task.extended"));
    assert!(!read.contains("\"assignment.revealed\""));
    assert!(disagreed.assignments.iter().all(|a| a.report.is_none()));
    let seen = serde_json::to_string(&auditor.task(&task.id).await.unwrap()).unwrap();
    // The bytes themselves nobody is served, whoever paid for them or found them, not even by their digests.
    let known = [
        reveal.report.result.digest.clone(),
        reveal.report.outputs[0].digest.clone(),
    ];
    for digest in &known {
        for client in [&platform.requester, &auditor, &thief.owner, &liar.owner] {
            not_there(client.blob(digest).await);
        }
    }
    // It has nothing to seal.
    thief.client.give_back(&lease.assignment).await.unwrap();

    let honest = [platform.node(&[]).await, platform.node(&[]).await];
    let ended = platform.ended(&task.id).await;
    assert_eq!(ended.state, "settled", "{ended:#?}");
    let all = digests(&ended);
    assert_eq!(
        all.len(),
        7,
        "three results and salts, and an output: {all:?}"
    );
    for digest in &all {
        assert!(!read.contains(digest) && !seen.contains(digest));
    }
    let now = log(&auditor).await;
    assert!(all.iter().all(|digest| now.contains(digest)));
    // Too late: the round has closed without it.
    let late = thief.seal(&thief.report(&lease, &Outcome::of(json!("cat"))));
    let late = thief.client.commit(&lease.assignment, &late).await;
    assert_eq!(late.unwrap_err().code(), Some("lease-ended"));
    for owner in [&thief.owner, &liar.owner] {
        let account = owner.account().await.unwrap();
        assert_eq!(
            (account.available.as_str(), account.pending.as_str()),
            ("0", "0")
        );
    }
    drop(honest);
    explained(&platform).await;
}
