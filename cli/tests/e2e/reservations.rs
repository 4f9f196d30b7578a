//! A task that needs most of a node, while small ones keep coming for every room that opens on it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aevir_wire::{Client, Deposit, OpenAccount, Policy, Secret};
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

/// Another requester, for no node is kept free where one's own runs are in the way; and its module.
async fn another(platform: &TestPlatform) -> (Client, String) {
    let name = "of the large one".into();
    let request = OpenAccount { name, scopes: None };
    let opened = platform.admin.open_account(&request).await.unwrap();
    let deposit = Deposit {
        amount: "1000000".into(),
        reference: "for the large one".into(),
    };
    let admin = &platform.admin;
    admin.deposit(&opened.account, &deposit).await.unwrap();
    let client = admin.with_key(Secret::from_text(opened.key));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/modules/echo.wasm");
    let module = client.push_module("echo", std::fs::read(file).unwrap());
    let module = module.await.unwrap().digest;
    (client, module)
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
    let small = sized(&module, SMALL_MIB);
    let (other, module) = another(&platform).await;
    let large = sized(&module, LARGE_MIB);
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
    let large = other.submit_task(&large, None).await.unwrap().id;

    let (mut kept_until, mut waited_for_room) = (None, false);
    let begun = Instant::now();
    let mut open = smalls.clone();
    loop {
        let task = other.task(&large).await.unwrap();
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
                let shows = |line: &str| {
                    line.trim_start().starts_with("kept free") && line.contains("until")
                };
                if status.lines().any(shows) {
                    assert!(!status.contains(&large), "for whom is not told: {status}");
                    kept_until = Some(until);
                }
            }
            // Once it has said so it need not be asked on: an account asks so often and no more.
            waited_for_room =
                waited_for_room || other.why_task(&large).await.unwrap().waits_for == "room";
        }
        // As many wait as before, whatever has ended.
        let mut waiting = 0;
        for id in std::mem::take(&mut open) {
            let task = platform.requester.task(&id).await.unwrap();
            waiting += usize::from(task.state == "queued");
            if !task.ended {
                open.push(id);
            }
        }
        for _ in waiting..SMALL_WAITING {
            let id = submit(&small).await;
            open.push(id.clone());
            smalls.push(id);
        }
    }
    assert!(
        kept_until.is_some() && waited_for_room,
        "{kept_until:?} {waited_for_room}\n{}",
        node.log()
    );
    let mut task = other.task(&large).await.unwrap();
    while !task.ended {
        assert!(begun.elapsed() < PATIENCE, "{task:#?}\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
        task = other.task(&large).await.unwrap();
    }
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
