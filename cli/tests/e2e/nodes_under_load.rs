//! Many tasks on nodes that are killed, stopped and continued, slow, failing, drained, revoked, or change their keys, all at
//! once: each task is paid once, nothing is lost, and the audit and the independent script explain the log.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use aevir_wire::RevokeNode;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::platform::{TestNode, TestPlatform, echo_definition};

const TASKS: usize = 24;
/// A second or so of work.
const SHORT: u32 = 300;
/// Longer than a lease lasts without heartbeats, which is 4 s.
const PAST_THE_LEASE: Duration = Duration::from_secs(7);
/// What one task costs: its price and the platform's twentieth of it, in micro-AEV.
const COST: i64 = 105_000;
const MONEY: i64 = 1_000_000_000;

async fn submit(platform: &TestPlatform, definition: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        let task = platform.requester.submit_task(definition, None).await;
        ids.push(task.unwrap().id);
    }
    ids
}

/// Waits until the node has begun one of the tasks: what it has only been leased it may still be compiling.
async fn busy(platform: &TestPlatform, tasks: &[String], node: &TestNode) {
    loop {
        for task in tasks {
            let task = platform.requester.task(task).await.unwrap();
            let mut runs = task.assignments.iter().filter(|a| a.node == node.id);
            if runs.any(|a| a.state == "running") {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The node gets another key while it works.
fn rotate(platform: &TestPlatform, node: &TestNode) -> String {
    let folder = node.folder.to_str().unwrap();
    let args = ["node", "rotate-key", "--data", folder, "--output", "json"];
    let said = platform.aevir(&args).unwrap();
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["node"], node.id.as_str());
    document["public_key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_nodes_do_each_task_is_paid_once() {
    let mut platform = TestPlatform::start().await;
    let honest = platform.node(&["--slots", "2"]).await;
    let _slow = platform.node(&["--fault", "slow=1500"]).await;
    // It gets few tasks, for it is left alone for longer after each: by chance none of them would fail.
    let _failing = platform.node(&["--fault", "flaky=100"]).await;
    let mut killed = platform.node(&[]).await;
    let stopped = platform.node(&[]).await;
    let drained = platform.node(&[]).await;
    let revoked = platform.node(&[]).await;
    let rotating = platform.node(&[]).await;
    let module = platform.push_echo().await;
    let changes = json!({"retry": {"max_attempts": 10}});
    let definition = echo_definition(&module, json!({"spin": SHORT}), changes);
    let tasks = submit(&platform, &definition).await;

    for node in [&killed, &stopped, &drained, &revoked, &rotating] {
        busy(&platform, &tasks, node).await;
    }
    let first = rotate(&platform, &rotating);
    killed.kill();
    stopped.signal(Signal::SIGSTOP);
    drained.owner.drain_node(&drained.id).await.unwrap();
    let revoke = RevokeNode {
        reason: "its machine was stolen".into(),
    };
    platform
        .admin
        .revoke_node(&revoked.id, &revoke)
        .await
        .unwrap();
    let second = rotate(&platform, &rotating);
    assert_ne!(first, second);
    tokio::time::sleep(PAST_THE_LEASE).await;
    // It goes on with what is lost by now, and is told so.
    stopped.signal(Signal::SIGCONT);
    killed.start();
    let third = rotate(&platform, &rotating);

    let mut reasons = BTreeSet::new();
    for task in &tasks {
        let ended = platform.ended(task).await;
        assert_eq!(ended.state, "settled", "{ended:#?}");
        let accepted = ended.assignments.iter().filter(|a| a.state == "accepted");
        assert_eq!(accepted.count(), 1, "{ended:#?}");
        reasons.extend(ended.assignments.iter().filter_map(|a| a.reason.clone()));
    }
    for reason in ["silent", "host-error"] {
        assert!(
            reasons.contains(reason),
            "nothing went wrong as {reason}: {reasons:?}"
        );
    }
    let account = platform.requester.account().await.unwrap();
    let spent = MONEY - account.available.parse::<i64>().unwrap();
    assert_eq!(spent, COST * TASKS as i64, "one payment each");
    let node = rotating.owner.node(&rotating.id).await.unwrap();
    assert_eq!(node.public_key, third, "{}", rotating.log());
    assert_eq!(
        revoked.owner.node(&revoked.id).await.unwrap().standing,
        "revoked"
    );
    assert_eq!(
        drained.owner.node(&drained.id).await.unwrap().standing,
        "draining"
    );
    let earned = honest.owner.node(&honest.id).await.unwrap().earned;
    assert_ne!(earned, "0", "{}", honest.log());
    explained(&platform).await;
}

/// The audit and the independent script explain the log to its end.
pub(crate) async fn explained(platform: &TestPlatform) {
    let file = platform.folder().join("log.ndjson");
    let path = file.to_str().unwrap();
    let key = platform.admin_key();
    platform.aevir_with(&key, &["log", "export", path]).unwrap();
    let log_key = platform.admin.log_key().await.unwrap().key;
    let args = [
        "audit",
        "--file",
        path,
        "--log-key",
        &log_key,
        "--output",
        "json",
    ];
    let audit = platform.aevir_with(&key, &args).unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["clean"], true, "{audit:#}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit/recompute.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(path)
        .arg("--json")
        .output();
    let output = output.expect("python3 is installed (apt-get install python3)");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["error"], Value::Null, "{found:#}");
    assert_eq!(found["events"], audit["events"]);
}
