//! Results that went on from what another node had made, and are disputed: who saved a bad checkpoint answers for it, and honest work stands.

use aevir_wire::{OpenAccount, Secret, Task};
use serde_json::{Value, json};

use crate::{
    nodes_under_load::explained,
    platform::TestPlatform,
    protocol::FakeNode,
    reviews::{platform, reviewed},
};

/// Work for some seconds, and in steps of milliseconds.
const LONG: u32 = 1_200;

/// A node of a stranger, who speaks the protocol as he likes.
async fn stranger(platform: &TestPlatform) -> FakeNode {
    let request = OpenAccount {
        name: "stranger".into(),
        scopes: None,
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    let owner = platform.admin.with_key(Secret::from_text(opened.key));
    let node = FakeNode::join(&platform.url, &owner, "stranger").await;
    node.appear().await;
    node
}

/// The task with what came of doubting it.
async fn disputed(platform: &TestPlatform, task: &Task) -> Task {
    let args = ["task", "dispute", &task.id, "--reason", "not what I have"];
    let said = platform.aevir(&[&args[..], &["--bond", "1000000"]].concat());
    said.unwrap();
    reviewed(platform, &task.id).await
}

/// The runs of a task that saved this checkpoint, as the log says.
async fn makers(platform: &TestPlatform, task: &str, digest: &str) -> usize {
    let mut lines = platform.admin.events(0, None, false).await.unwrap();
    let mut found = 0;
    while let Some(line) = lines.next_line().await {
        let entry: Value = serde_json::from_slice(&line.unwrap()).unwrap();
        let data = &entry["data"];
        let is_of_it = entry["type"] == "assignment.checkpointed" && data["task"] == task;
        found += usize::from(is_of_it && data["checkpoint"]["digest"] == digest);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn who_poisons_a_checkpoint_answers_for_what_another_made_of_it() {
    let mut platform = platform(0).await;
    let poisoner = stranger(&platform).await;
    let task = platform.echo(json!({"spin": 20}), json!({})).await;
    let lease = poisoner.lease().await;
    poisoner.client.start(&lease.assignment).await.unwrap();
    // Nineteen units of twenty are done, with a state that is made up.
    let poison = [&19u32.to_le_bytes()[..], &7u64.to_le_bytes()[..]].concat();
    let saved = poisoner.client.save_checkpoint(&lease.assignment, poison);
    saved.await.unwrap();
    // And then it is silent.
    let victim = platform.node(&[]).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let run = task.assignments.iter().find(|a| a.node == victim.id);
    let author = run.unwrap().checkpoint_author.as_deref();
    assert_eq!(author, Some(poisoner.id.as_str()), "{task:#?}");
    let _fresh = [platform.node(&[]).await, platform.node(&[]).await];
    let task = disputed(&platform, &task).await;
    assert_eq!(task.state, "overturned", "{task:#?}");
    let poisoner = poisoner.owner.node(&poisoner.id).await.unwrap();
    assert_eq!(poisoner.stake.unwrap().strikes, 1);
    let victim = victim.owner.node(&victim.id).await.unwrap();
    assert_eq!(victim.stake.unwrap().strikes, 0);
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_work_that_was_gone_on_with_stands_a_dispute() {
    let mut platform = platform(0).await;
    let mut first = platform.node(&[]).await;
    let task = platform.echo(json!({"spin": LONG}), json!({})).await;
    let running = |t: &Task| {
        t.assignments
            .iter()
            .any(|a| a.state == "running" && a.progress.as_ref().is_some_and(|p| p.ppm > 0))
    };
    platform.task_when(&task.id, "running", running).await;
    first.kill();
    let _second = platform.node(&[]).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let resumed = task.assignments.iter().find_map(|a| a.resumed_from.clone());
    let resumed = resumed.expect("it went on from a checkpoint");
    let _fresh = [platform.node(&[]).await, platform.node(&[]).await];
    let task = disputed(&platform, &task).await;
    let review = task.review.as_ref().unwrap();
    assert_eq!(
        (task.state.as_str(), review.state.as_str()),
        ("settled", "upheld"),
        "{task:#?}"
    );
    let by = review.by.as_deref().unwrap();
    assert_eq!(makers(&platform, by, &resumed).await, 2);
    explained(&platform).await;
}
