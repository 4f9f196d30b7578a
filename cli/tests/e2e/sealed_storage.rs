//! What a node keeps sealed takes its part of the storage that its operator allows, also after a restart, and gives it back.

use std::time::Duration;

use serde_json::json;

use crate::platform::{TestPlatform, echo_definition};

const POLL: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_placed_that_does_not_fit_beside_what_is_sealed() {
    let mut platform = TestPlatform::start().await;
    let mut node = platform
        .node(&["--storage-mib", "200", "--slots", "2"])
        .await;
    let module = platform.push_echo().await;
    // With the reserve it takes 164 MiB, and its outputs may take 100 of them.
    let limits =
        json!({"fuel": "1000000000", "memory_mib": 64, "runtime_s": 60, "output_mib": 100});
    let sampled = json!({
        "limits": limits,
        "data": [{"name": "a", "from": {"inline": "kept"}}],
        "verification": [{"method": "sampling", "replicas": 2, "quorum": 2}],
    });
    let sampled = echo_definition(&module, json!({"copy": ["a"]}), sampled);
    let first = platform
        .requester
        .submit_task(&sampled, None)
        .await
        .unwrap();
    // There is no other owner's node for the second replica.
    let is_sealed =
        |task: &aevir_wire::Task| task.assignments.iter().any(|a| a.state == "committed");
    let task = platform.task_when(&first.id, "sealed", is_sealed).await;
    let kept = node.folder.join("sealed").join(&task.assignments[0].id);
    assert_eq!(std::fs::read(kept.join("a")).unwrap(), b"kept");

    let plain = echo_definition(&module, json!({}), json!({"limits": limits}));
    let second = platform.requester.submit_task(&plain, None).await.unwrap();
    let refused = async || {
        let why = platform.requester.why_task(&second.id).await.unwrap();
        let reasons = why.refused.into_iter().map(|of| of.reason);
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(refused().await, ["storage"]);
    node.kill();
    node.start();
    while !node
        .log()
        .contains("a result sealed before the restart stands")
    {
        tokio::time::sleep(POLL).await;
    }
    assert!(kept.exists());
    while refused().await != ["storage"] {
        tokio::time::sleep(POLL).await;
    }

    platform.requester.cancel_task(&first.id).await.unwrap();
    let ended = platform.ended(&second.id).await;
    assert_eq!(ended.state, "settled", "{}", node.log());
    while kept.exists() {
        tokio::time::sleep(POLL).await;
    }
}
