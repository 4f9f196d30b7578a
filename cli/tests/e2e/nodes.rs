//! Nodes that come, go, and come back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::TestPlatform;

/// Work for ten seconds and more.
const LONG: u32 = 2_500;

/// How long a run's first checkpoint may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the log has an entry of this type about the task; answers its data.
async fn entry_of(platform: &TestPlatform, task: &str, kind: &str) -> Value {
    let mut lines = platform.admin.events(0, None, true).await.unwrap();
    while let Some(line) = lines.next_line().await {
        let entry: Value = serde_json::from_slice(&line.unwrap()).unwrap();
        if entry["type"] == kind && entry["data"]["task"] == task {
            return entry["data"].clone();
        }
    }
    panic!("the log ended without a {kind} of task {task}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_work_goes_on_elsewhere_from_its_checkpoint() {
    let mut platform = TestPlatform::start().await;
    let mut first = platform.node(&[]).await;
    let task = platform.echo(json!({"spin": LONG}), json!({})).await;
    let running = |t: &aevir_wire::Task| {
        t.assignments
            .iter()
            .any(|a| a.state == "running" && a.progress.as_ref().is_some_and(|p| p.ppm > 0))
    };
    platform.task_when(&task.id, "running", running).await;
    // It has run for a while then, and brings what it saves when it gets to it.
    let saved = tokio::time::timeout(
        PATIENCE,
        entry_of(&platform, &task.id, "assignment.checkpointed"),
    );
    saved.await.expect("a checkpoint in the log");
    first.kill();
    let second = platform.node(&[]).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let states: Vec<_> = task
        .assignments
        .iter()
        .map(|a| (a.node.as_str(), a.state.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            (first.id.as_str(), "lost"),
            (second.id.as_str(), "accepted")
        ]
    );
    assert!(
        task.assignments[1].resumed_from.is_some(),
        "the second node went on from a checkpoint: {task:#?}"
    );
    let resumed = &task.assignments[1];
    assert_eq!(
        resumed.checkpoint_author.as_deref(),
        Some(first.id.as_str())
    );
    let report = resumed.report.as_ref().unwrap();
    assert_eq!(report.resumed_from, resumed.resumed_from);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_after_its_commitment_still_reveals() {
    let mut platform = TestPlatform::start().await;
    let mut first = platform.node(&[]).await;
    let sampling = json!({"verification": [{"method": "sampling", "replicas": 3, "quorum": 2}]});
    let task = platform.echo(json!({"message": 1}), sampling).await;
    let sealed = |t: &aevir_wire::Task| t.assignments.iter().any(|a| a.state == "committed");
    platform.task_when(&task.id, "committed", sealed).await;
    first.kill();
    let _second = platform.node(&[]).await;
    platform
        .task_when(&task.id, "verifying", |t| t.state == "verifying")
        .await;
    first.start();
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}\n{}", first.log());
    assert!(
        task.assignments.iter().all(|a| a.state == "accepted"),
        "both replicas count: {task:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_gives_its_work_back() {
    let mut platform = TestPlatform::start().await;
    let mut first = platform.node(&[]).await;
    let task = platform.echo(json!({"spin": LONG}), json!({})).await;
    let running = |t: &aevir_wire::Task| t.assignments.iter().any(|a| a.state == "running");
    platform.task_when(&task.id, "running", running).await;
    assert!(first.stop(), "it ends in order:\n{}", first.log());
    let given_back = |t: &aevir_wire::Task| t.assignments[0].state == "returned";
    let task = platform.task_when(&task.id, "given back", given_back).await;
    assert_eq!(
        (task.attempts_spent, &task.assignments[0].reason),
        (0, &None),
        "{task:#?}"
    );
    let node = first.owner.node(&first.id).await.unwrap();
    assert_eq!(node.availability, "offline");
    assert!(node.records.is_empty(), "no harm: {node:#?}");
    let second = platform.node(&[]).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let successor = &task.assignments[1];
    assert_eq!(successor.node, second.id);
    assert!(
        successor.resumed_from.is_some(),
        "it went on from what the stopping node had: {task:#?}\n{}",
        first.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_node_loses_its_lease() {
    let mut platform = TestPlatform::start().await;
    let _stalling = platform.node(&["--fault", "stall"]).await;
    let task = platform.echo(json!({}), json!({})).await;
    let lost = |t: &aevir_wire::Task| t.assignments.iter().any(|a| a.state == "lost");
    let task = platform.task_when(&task.id, "lost", lost).await;
    assert_eq!(
        task.assignments[0].reason.as_deref(),
        Some("silent"),
        "{task:#?}"
    );
    let _honest = platform.node(&[]).await;
    assert_eq!(platform.ended(&task.id).await.state, "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_registration_was_never_answered_is_found_again() {
    let mut platform = TestPlatform::start().await;
    let mut node = platform.node(&[]).await;
    // As if it had died between the server's registration and the answer: its key is kept, the answer is not.
    node.kill();
    node.forget_registration();
    node.start();
    let task = platform.echo(json!({}), json!({})).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}\n{}", node.log());
    assert_eq!(
        task.assignments[0].node, node.id,
        "the same node, with a token that was used up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_survive_a_restart_of_the_server() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&[]).await;
    let task = platform.echo(json!({"spin": LONG / 2}), json!({})).await;
    let running = |t: &aevir_wire::Task| t.assignments.iter().any(|a| a.state == "running");
    platform.task_when(&task.id, "running", running).await;
    platform.kill_server();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    platform.start_server();
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}\n{}", node.log());
    assert_eq!(task.assignments.len(), 1, "nothing was lost: {task:#?}");
    // Nobody is late for the time in which there was no server.
    let sealed = entry_of(&platform, &task.id, "assignment.committed").await;
    let absent_ms: u64 = sealed["absent_ms"].as_str().unwrap().parse().unwrap();
    assert!(absent_ms >= 1_000, "{sealed}");
}
