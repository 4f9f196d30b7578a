//! A task that needs most of a node, while small ones keep coming for every room that opens on it.

use std::time::{Duration, Instant};

use aevir_wire::Policy;
use serde_json::{Value, json};

use crate::platform::{TestPlatform, echo_definition};

/// A node may be kept free for a task that has waited for so long.
const AFTER_MS: u32 = 2_000;
/// Two small runs fit the node, and the large one only alone.
const NODE_MIB: &str = "700";
const SMALL_MIB: u32 = 256;
const LARGE_MIB: u32 = 600;
/// A second or so of work.
const SHORT: u32 = 300;
/// Small tasks that wait at any time: there is always one to take what is free.
const SMALL_WAITING: usize = 4;
const PATIENCE: Duration = Duration::from_secs(120);

fn sized(module: &str, memory_mib: u32) -> Value {
    let limits = json!({"fuel": "1000000000000", "memory_mib": memory_mib, "runtime_s": 60, "output_mib": 8});
    echo_definition(module, json!({"spin": SHORT}), json!({"limits": limits}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_task_is_placed_though_small_ones_keep_coming() {
    let mut platform = TestPlatform::start().await;
    let mut policy = platform.admin.policy().await.unwrap().policy;
    policy.scheduling.reserve.after_ms = AFTER_MS;
    platform
        .admin
        .adopt_policy(&Policy { ..policy })
        .await
        .unwrap();
    let module = platform.push_echo().await;
    let node = platform
        .node(&["--slots", "2", "--max-memory-mib", NODE_MIB])
        .await;
    let (small, large) = (sized(&module, SMALL_MIB), sized(&module, LARGE_MIB));
    let submit = async |definition: &Value| {
        let submitted = platform.requester.submit_task(definition, None).await;
        submitted.unwrap().id
    };
    let mut smalls = Vec::new();
    for _ in 0..SMALL_WAITING {
        smalls.push(submit(&small).await);
    }
    let first = platform.task_when(&smalls[0], "running", |t| t.state == "running");
    first.await;
    let large = submit(&large).await;

    let (mut kept_until, mut waited_for_room) = (None, false);
    let begun = Instant::now();
    let mut ended = 0;
    loop {
        let task = platform.requester.task(&large).await.unwrap();
        if task.started_at.is_some() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{task:#?}\n{}", node.log());
        let of_node = node.owner.node(&node.id).await.unwrap();
        if let Some(until) = of_node.kept_free_until {
            if kept_until.is_none() {
                let status = ["node", "status", "--data", node.folder.to_str().unwrap()];
                let status = platform.aevir(&status).unwrap();
                // Its task may have come meanwhile.
                let shows = |line: &str| line.starts_with("kept free") && line.contains("until");
                if status.lines().any(shows) {
                    assert!(!status.contains(&large), "for whom is not told: {status}");
                    kept_until = Some(until);
                }
            }
            let why = platform.requester.why_task(&large).await.unwrap();
            waited_for_room |= why.waits_for == "room";
        }
        // As many wait as before, whatever has ended.
        let mut waiting = 0;
        for id in &smalls[ended..] {
            let task = platform.requester.task(id).await.unwrap();
            ended += usize::from(task.ended);
            waiting += usize::from(task.state == "queued");
        }
        for _ in waiting..SMALL_WAITING {
            smalls.push(submit(&small).await);
        }
    }
    assert!(kept_until.is_some() && waited_for_room, "{}", node.log());
    let task = platform.ended(&large).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let until = kept_until.unwrap();
    assert!(
        task.started_at.as_ref().unwrap() <= &until,
        "{until}: {task:#?}"
    );
    // What was not placed for its sake is placed after it.
    for id in &smalls {
        assert_eq!(platform.ended(id).await.state, "settled");
    }
}
