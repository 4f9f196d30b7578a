//! What survives: everything that was answered.

use aevir_wire::Action;
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

/// The server is stopped while a run is under way; the node goes on with the next one.
async fn restart_in_the_middle(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    let before = platform.admin.log_head(true).await.unwrap();

    let platform = platform.restart().await;
    let client = platform.client(&requester.key);
    let reconnected = platform.client(node.key.expose());
    let node = node.moved(reconnected);
    let after = platform.admin.log_head(true).await.unwrap();
    assert_eq!(
        (after.size, after.root, after.state_hash),
        (before.size, before.root, before.state_hash)
    );
    assert_eq!(client.task(&task.id).await.unwrap().state, "running");
    // The lease has a fresh period, and heartbeats go on extending it.
    for _ in 0..6 {
        assert_eq!(node.beat(&lease.assignment).await, Action::Continue);
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    node.reveal(&reveal).await.unwrap();
    until(&client, &task.id, "settled").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_run_survives_a_restart_of_the_server() {
    let platform = TestPlatform::builder()
        .policy(|p| p.lease_ms = 1_500)
        .start()
        .await;
    restart_in_the_middle(platform).await;
}

#[tokio::test]
async fn a_run_survives_a_restart_of_the_server_on_postgres() {
    let platform = TestPlatform::builder()
        .postgres()
        .policy(|p| p.lease_ms = 1_500)
        .start()
        .await;
    restart_in_the_middle(platform).await;
}

#[tokio::test]
async fn a_lease_whose_node_is_gone_is_lost_after_a_restart() {
    let platform = TestPlatform::builder()
        .policy(|p| p.lease_ms = 1_000)
        .start()
        .await;
    let (requester, module) = platform.requester().await;
    let gone = platform.node("gone").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = gone.lease().await;
    gone.client.start(&lease.assignment).await.unwrap();
    let platform = platform.restart().await;
    let client = platform.client(&requester.key);
    let heir = platform.node("heir").await;
    assert_eq!(heir.lease().await.task, task.id);
    assert_eq!(
        client.task(&task.id).await.unwrap().assignments[0].state,
        "lost"
    );
}

#[tokio::test]
async fn the_log_can_be_followed() {
    let platform = TestPlatform::start().await;
    let mut lines = platform.admin.events(0, None, true).await.unwrap();
    let size = platform.size();
    for position in 0..size {
        let line = lines.next_line().await.unwrap().unwrap();
        let entry: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(entry["position"], position.to_string());
    }
    platform.account("late").await;
    let line = lines.next_line().await.unwrap().unwrap();
    let entry: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&entry["type"], &entry["position"]),
        (&json!("account.opened"), &json!(size.to_string()))
    );
    let mut two = platform.admin.events(1, Some(2), true).await.unwrap();
    let mut count = 0;
    while let Some(line) = two.next_line().await {
        line.unwrap();
        count += 1;
    }
    assert_eq!(count, 2, "a limit ends even a follower");
}

#[tokio::test]
async fn a_stopping_server_ends_its_polls_and_streams() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let ask = aevir_wire::Ask {
        max: 1,
        wait_ms: 30_000,
        ..aevir_wire::Ask::default()
    };
    let client = node.client.clone();
    let poll = tokio::spawn(async move { client.lease(&ask).await });
    let mut stream = platform
        .admin
        .events(platform.size(), None, true)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let begun = std::time::Instant::now();
    let platform = platform.restart().await;
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(5),
        "a stop is prompt"
    );
    assert!(poll.await.unwrap().unwrap().leases.is_empty());
    while let Some(line) = stream.next_line().await {
        line.unwrap();
    }
    platform.admin.ready().await.unwrap();
}
