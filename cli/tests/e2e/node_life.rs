//! The verbs of who looks after nodes and markets, and what a running agent makes of them.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    nodes_under_load::explained,
    platform::{TestNode, TestPlatform},
};

/// Work for some seconds.
const SECONDS: u32 = 800;

/// A verb about the node of a folder, with the node's own key; its JSON document.
fn own(platform: &TestPlatform, node: &TestNode, verb: &str, more: &[&str]) -> Value {
    let folder = node.folder.to_str().unwrap();
    let args = [&["node", verb, "--data", folder, "--output", "json"], more].concat();
    let said = platform
        .aevir(&args)
        .unwrap_or_else(|e| panic!("{args:?}: {e}"));
    serde_json::from_str(&said).unwrap()
}

/// The exit status of an agent whose node has left, or was revoked.
const GONE: i32 = 3;

fn admin(platform: &TestPlatform, args: &[&str]) -> Result<String, String> {
    platform.aevir_with(&platform.admin_key(), args)
}

fn running(task: &aevir_wire::Task) -> bool {
    task.assignments.iter().any(|a| a.state == "running")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_finishes_and_its_agent_ends() {
    let mut platform = TestPlatform::start().await;
    let mut node = platform.node(&[]).await;
    let task = platform.echo(json!({"spin": SECONDS}), json!({})).await;
    platform.task_when(&task.id, "running", running).await;
    assert_eq!(own(&platform, &node, "drain", &[])["standing"], "draining");
    assert_eq!(own(&platform, &node, "leave", &[])["standing"], "leaving");
    assert_eq!(platform.ended(&task.id).await.state, "settled");
    assert_eq!(node.wait(), Some(GONE), "{}", node.log());
    let gone = node.owner.node(&node.id).await.unwrap();
    assert_eq!(
        (gone.standing.as_str(), gone.earned.as_str()),
        ("left", "100000")
    );
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_finishes_within_its_grace() {
    let mut platform = TestPlatform::start().await;
    let mut node = platform.node(&["--grace-s", "100"]).await;
    let task = platform.echo(json!({"spin": SECONDS}), json!({})).await;
    platform.task_when(&task.id, "running", running).await;
    node.signal(Signal::SIGTERM);
    let next = platform.echo(json!({}), json!({})).await;
    assert_eq!(platform.ended(&task.id).await.state, "settled");
    assert_eq!(node.wait(), Some(0), "{}", node.log());
    let waits = platform.requester.task(&next.id).await.unwrap();
    assert_eq!(
        waits.assignments.len(),
        0,
        "nothing new was placed: {waits:#?}"
    );
    node.start();
    assert_eq!(platform.ended(&next.id).await.state, "settled");
    // A second signal does not wait for anything.
    let task = platform
        .echo(json!({"spin": 10 * SECONDS}), json!({}))
        .await;
    platform.task_when(&task.id, "running", running).await;
    node.signal(Signal::SIGTERM);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    node.signal(Signal::SIGTERM);
    let begun = std::time::Instant::now();
    assert_ne!(node.wait(), Some(0), "{}", node.log());
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_interrupted_is_completed_by_the_next_start() {
    let mut platform = TestPlatform::start().await;
    let mut node = platform.node(&[]).await;
    let before = node.owner.node(&node.id).await.unwrap().public_key;
    node.kill();
    // As it is left when the program dies before, or after, the platform takes the new key.
    let next = node.folder.join("node.key.next");
    std::fs::write(&next, format!("{}\n", "07".repeat(32))).unwrap();
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    node.start();
    let task = platform.echo(json!({}), json!({})).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}\n{}", node.log());
    assert_ne!(node.owner.node(&node.id).await.unwrap().public_key, before);
    assert!(!next.exists());
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_to_its_operators_limits_whatever_the_platform_says() {
    let mut platform = TestPlatform::start().await;
    let node = platform
        .node(&[
            // Enough to compile in, which takes some more or less.
            "--max-memory-mib",
            "512",
            "--ask",
            "training=7",
            "--hours",
            "daily 00:00-24:00",
        ])
        .await;
    let terms = own(&platform, &node, "terms", &[]);
    assert_eq!(
        terms,
        json!({"caps": {"memory_mib": 512}, "hours": [{"from_min": 0, "to_min": 10_080}], "asks": {"training": "7"}})
    );
    let small = json!({"limits": {"fuel": "1000000000", "memory_mib": 32, "runtime_s": 60, "output_mib": 8}});
    let fits = platform.echo(json!({}), small).await;
    assert_eq!(platform.ended(&fits.id).await.state, "settled");
    // Its owner lifts the cap on the platform, and not on the machine.
    assert_eq!(own(&platform, &node, "terms", &["--any"]), json!({}));
    let large = platform
        .echo(
            json!({}),
            json!({
                "limits": {"fuel": "1000000000", "memory_mib": 513, "runtime_s": 60, "output_mib": 8},
                "retry": {"max_attempts": 1},
            }),
        )
        .await;
    let large = platform.ended(&large.id).await;
    let said = large.assignments[0].message.clone().unwrap();
    assert!(
        said.contains("this node's operator allows 512 MiB of memory"),
        "{said}"
    );
    let status = own(&platform, &node, "status", &[]);
    let speed = status["speed"]["claimed_mfuel_s"].as_u64().unwrap();
    assert!(speed > 10, "the probe ran: {speed} million units a second");
    assert_eq!(status["records"]["data-processing"]["faults_in_a_row"], 1);
    let folder = node.folder.to_str().unwrap();
    let table = platform
        .aevir(&["node", "status", "--data", folder])
        .unwrap();
    for shown in [
        "working",
        "Mfuel/s",
        "seccomp",
        "on data-processing",
        "0.1 AEV",
    ] {
        assert!(table.contains(shown), "{shown} in\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_have_their_verbs() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&[]).await;
    let on_node = |verb: &'static str| {
        ["admin", verb, "node", &node.id, "--reason", "heat"].map(str::to_owned)
    };
    let run = |args: [String; 6]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        admin(&platform, &args)
    };
    run(on_node("suspend")).unwrap();
    let listed = admin(&platform, &["admin", "suspensions", "--output", "json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["suspensions"][0]["reason"], "heat");
    let again = run(on_node("suspend")).unwrap_err();
    assert!(again.contains("suspended-already"), "{again}");
    let task = platform.echo(json!({}), json!({})).await;
    assert!(own(&platform, &node, "status", &[])["suspended"]["reason"] == "heat");
    run(on_node("release")).unwrap();
    assert_eq!(platform.ended(&task.id).await.state, "settled");
    let refused = platform.aevir(&["admin", "suspensions"]).unwrap_err();
    assert!(refused.contains("scope-missing"), "{refused}");
    assert!(admin(&platform, &["market"]).unwrap().contains("open"));
    assert!(
        admin(&platform, &["market", "private"])
            .unwrap()
            .contains("private")
    );
    let policy = platform.admin.policy().await.unwrap();
    assert_eq!(policy.policy.market, "private");
    let same = admin(&platform, &["market", "private", "--output", "json"]).unwrap();
    let same: Value = serde_json::from_str(&same).unwrap();
    assert_eq!(
        same["policy_version"], policy.version,
        "nothing was to be changed"
    );
    let strangers = platform
        .aevir(&["node", "revoke", &node.id, "--reason", "none"])
        .unwrap_err();
    assert!(strangers.contains("unknown-node"), "{strangers}");
    admin(
        &platform,
        &["node", "revoke", &node.id, "--reason", "stolen"],
    )
    .unwrap();
    explained(&platform).await;
}
