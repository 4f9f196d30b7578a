//! Modules that misbehave fail their assignments with the class of the failure; the node and the platform carry on.

use serde_json::json;

use crate::platform::TestPlatform;

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_class_and_the_node_carries_on() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&[]).await;
    let once = json!({"retry": {"max_attempts": 1}});
    let little_fuel = json!({
        "retry": {"max_attempts": 1},
        "limits": {"fuel": "100000000", "memory_mib": 64, "runtime_s": 60, "output_mib": 8},
    });
    for (fail, changes, class) in [
        ("error", &once, "guest-error"),
        ("trap", &once, "trap"),
        ("loop", &little_fuel, "limit"),
        ("memory", &once, "limit"),
    ] {
        let task = platform.echo(json!({"fail": fail}), changes.clone()).await;
        let task = platform.ended(&task.id).await;
        assert_eq!(task.state, "failed", "{fail}: {task:#?}");
        let assignment = &task.assignments[0];
        assert_eq!(assignment.state, "failed", "{fail}");
        assert_eq!(
            assignment.reason.as_deref(),
            Some(class),
            "{fail}: {task:#?}"
        );
        assert!(
            assignment.message.is_some(),
            "{fail}: a failure says what happened"
        );
        if fail == "trap" {
            // What a module says in its last moment is what its author needs.
            let log = platform.requester.task_log(&task.id).await.unwrap();
            let said = |line: &aevir_wire::TaskLogLine| line.text.contains("panicked");
            assert!(log.lines.iter().any(said), "{log:#?}");
        }
    }
    // Nothing above backs a node off for other types of task.
    let well = platform
        .echo(
            json!({"message": "still here"}),
            json!({"type": "inference"}),
        )
        .await;
    let well = platform.ended(&well.id).await;
    assert_eq!(well.state, "settled", "{well:#?}\n{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_its_time_is_stopped() {
    let mut platform = TestPlatform::start().await;
    let _node = platform.node(&[]).await;
    let changes = json!({
        "retry": {"max_attempts": 1},
        "limits": {"fuel": "1000000000000000", "memory_mib": 64, "runtime_s": 2, "output_mib": 8},
    });
    let task = platform.echo(json!({"fail": "loop"}), changes).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(
        task.assignments[0].reason.as_deref(),
        Some("limit"),
        "{task:#?}"
    );
}
