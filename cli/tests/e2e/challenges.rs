//! Real nodes show how fast their GPU is (SwiftShader where there is no hardware).

use std::time::Duration;

use aevir_wire::{ChangeProfile, Client, NodeCompute, Secret};
use serde_json::Value;

use crate::{
    nodes_under_load::explained,
    platform::{TestNode, TestPlatform},
};

/// How long a check may take, and one that is asked for again.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the platform knows of the node's GPU after so many checks.
async fn after(platform: &TestPlatform, node: &TestNode, checks: u32) -> NodeCompute {
    let seen = async {
        loop {
            let found = platform.admin.node(&node.id).await.unwrap().compute;
            let found = found.expect("it has a GPU");
            if found.checks >= checks {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, seen).await;
    found.unwrap_or_else(|_| panic!("no check {checks}\n{}", node.log()))
}

/// The node's own client: whoever runs a node can say anything of it.
fn speaking_for(node: &TestNode, url: &str) -> Client {
    let text = std::fs::read(node.folder.join("node.json")).unwrap();
    let registration: Value = serde_json::from_slice(&text).unwrap();
    let key = registration["api_key"].as_str().unwrap();
    Client::new(url, Some(Secret::from_text(key))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_stays_at_its_class_and_one_that_claims_too_much_does_not() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&["--gpu", "required"]).await;
    let found = after(&platform, &node, 1).await;
    assert!(!found.wrong, "{found:?}\n{}", node.log());
    let claimed = found.claimed.unwrap();
    assert!(claimed > 0, "too slow a machine to check: {found:?}");
    assert_eq!(found.counted, Some(claimed), "{found:?}\n{}", node.log());
    assert!(!found.slower_than_claimed);

    // Its operator says that it is sixteen times as fast, and one class too much is all that this can win.
    let mut profile = platform.admin.node(&node.id).await.unwrap().profile;
    profile.gpu.as_mut().unwrap().compute = Some(claimed + 2);
    let client = speaking_for(&node, &platform.url);
    client
        .change_profile(&ChangeProfile { profile })
        .await
        .unwrap();
    let found = after(&platform, &node, 2).await;
    assert_eq!(found.claimed, Some(claimed + 2));
    assert_eq!(
        found.counted,
        Some(claimed + 1),
        "{found:?}\n{}",
        node.log()
    );
    assert!(found.slower_than_claimed);
    let folder = node.folder.to_str().unwrap();
    let table = platform.aevir(&["node", "status", "--data", folder]);
    let table = table.unwrap();
    assert!(table.contains("SLOWER THAN CLAIMED"), "{table}");
    explained(&platform).await;
}
