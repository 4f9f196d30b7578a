//! A server that did not run for a while: a stopped process, a machine that slept, a log that could not be written. Nobody was silent meanwhile.
//!
//! Each test has one thread, on which the server runs, too: while the test blocks it, nothing listens.

use std::{thread, time::Duration};

use aevir_wire::{Action, Reveal, SubmittedTask};
use serde_json::json;

use crate::support::{
    Account, FakeNode, TestPlatform,
    node::{Outcome, until},
    single,
};

/// Three times as long as a lease, a sealed result or a node's presence lasts without being heard.
const PAUSE: Duration = Duration::from_secs(3);
/// In which the driver looks at deadlines, before anybody was heard again.
const LOOKS: Duration = Duration::from_millis(500);

async fn platform() -> TestPlatform {
    let hasty = TestPlatform::builder().policy(|p| {
        p.lease_ms = 1_000;
        p.accept_ms = 1_000;
        p.reveal_ms = 1_000;
        p.offline_ms = 1_000;
    });
    hasty.start().await
}

async fn events(platform: &TestPlatform, of: &str) -> usize {
    let entries = platform.entries(0).await;
    entries.iter().filter(|entry| entry["type"] == of).count()
}

/// A sample of two, whose results both nodes have sealed: they are to be revealed.
async fn both_sealed(
    requester: &Account,
    module: &str,
    nodes: &[FakeNode; 2],
) -> (SubmittedTask, Vec<Reveal>) {
    let task = single(module).sampled(2, 2, 2);
    let task = task.submit(&requester.client).await;
    let mut sealed = Vec::new();
    for node in nodes {
        let lease = node.lease().await;
        sealed.push(node.run(&lease, &Outcome::of(json!(1))).await);
    }
    (task, sealed)
}

#[tokio::test]
async fn a_pause_of_the_server_loses_no_lease_and_silence_after_it_does() {
    let platform = platform().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    assert_eq!(node.beat(&lease.assignment).await, Action::Continue);
    thread::sleep(PAUSE);
    tokio::time::sleep(LOOKS).await;
    assert_eq!(node.beat(&lease.assignment).await, Action::Continue);
    assert_eq!(events(&platform, "node.availability_changed").await, 1);
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    node.reveal(&reveal).await.unwrap();
    let ended = until(&requester.client, &task.id, "settled").await;
    assert_eq!(ended.attempts_spent, 0);

    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    thread::sleep(PAUSE);
    // It says nothing any more: its lease ends when its own time is over.
    let lost = async {
        loop {
            let view = requester.client.task(&task.id).await.unwrap();
            if view.assignments[0].state == "lost" {
                return view.assignments[0].reason.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(20), lost).await;
    assert_eq!(reason.expect("it is lost").as_deref(), Some("not-started"));
    assert_eq!(lease.task, task.id);
    platform.check_replay().await;
}

#[tokio::test]
async fn a_pause_of_the_server_makes_nobody_keep_his_result_back() {
    let platform = platform().await;
    let (requester, module) = platform.requester().await;
    let nodes = [platform.node("a").await, platform.node("b").await];
    let (task, sealed) = both_sealed(&requester, &module, &nodes).await;
    // The round is closed, and its time to reveal passes while nobody could.
    thread::sleep(PAUSE);
    tokio::time::sleep(LOOKS).await;
    for (node, reveal) in nodes.iter().zip(&sealed) {
        let id = &reveal.report.assignment;
        node.client.reveal(id, reveal).await.unwrap();
    }
    let ended = until(&requester.client, &task.id, "settled").await;
    assert!(ended.assignments.iter().all(|a| a.state == "accepted"));

    // Who keeps his result back without such an excuse is found as ever.
    let (task, sealed) = both_sealed(&requester, &module, &nodes).await;
    nodes[0].reveal(&sealed[0]).await.unwrap();
    let ended = until(&requester.client, &task.id, "inconclusive").await;
    let states: Vec<_> = ended.assignments.iter().map(|a| a.state.as_str()).collect();
    assert!(states.contains(&"refused"), "{states:?}");
    platform.check_replay().await;
}

/// For a pause somebody else has the log's file: nothing can be written, of this neither.
async fn while_locked<T>(platform: &TestPlatform, during: impl Future<Output = T>) -> T {
    let log = rusqlite::Connection::open(platform.dir().join("log.sqlite")).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let released = async {
        tokio::time::sleep(PAUSE).await;
        log.execute_batch("ROLLBACK").unwrap();
    };
    tokio::join!(released, during).1
}

#[tokio::test]
async fn a_log_that_can_not_be_written_makes_nobody_keep_his_result_back() {
    let platform = platform().await;
    let (requester, module) = platform.requester().await;
    let nodes = [platform.node("a").await, platform.node("b").await];
    let (task, sealed) = both_sealed(&requester, &module, &nodes).await;
    let [one, two] = &sealed[..] else {
        panic!("two results")
    };
    // What the first one says is on its way for as long as that lasts; the other one, who was told to try later, does.
    let revealed = while_locked(&platform, nodes[0].reveal(one)).await;
    revealed.unwrap();
    tokio::time::sleep(LOOKS).await;
    nodes[1].reveal(two).await.unwrap();
    let ended = until(&requester.client, &task.id, "settled").await;
    assert!(ended.assignments.iter().all(|a| a.state == "accepted"));
    platform.check_replay().await;
}

#[tokio::test]
async fn a_log_that_can_not_be_written_makes_nobody_late() {
    let platform = platform().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    while_locked(&platform, platform.poor_account("other")).await;
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    node.reveal(&reveal).await.unwrap();
    until(&requester.client, &task.id, "settled").await;
    let entries = platform.entries(0).await;
    let sealed = entries
        .iter()
        .find(|e| e["type"] == "assignment.committed")
        .unwrap();
    let absent_ms: u64 = sealed["data"]["absent_ms"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let least = (PAUSE - LOOKS).as_millis() as u64;
    assert!(absent_ms >= least, "{sealed}");
    platform.check_replay().await;
}
