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

/// The class that counts follows from what its answers showed. How fast that was is the machine's and its load's: beside other tests the same
/// GPU is several classes slower than alone.
fn goes_by_what_it_showed(found: &NodeCompute, claimed: u8) {
    let mflop_s: u64 = found.shown_mflop_s.parse().unwrap();
    // Class n is from 1,000 * 4^(n - 1) millions a second, and a quarter of it shows the class.
    let shown = (1..=20u32).take_while(|n| 4 * mflop_s >= 1_000 << (2 * (n - 1)));
    let shown = u8::try_from(shown.count()).unwrap();
    assert_eq!(found.claimed, Some(claimed));
    assert_eq!(found.shown, Some(shown), "{found:?}");
    assert_eq!(found.counted, Some(claimed.min(shown)), "{found:?}");
    assert_eq!(found.slower_than_claimed, shown < claimed, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_of_a_gpu_is_what_it_shows_whatever_it_claims() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&["--gpu", "required"]).await;
    let found = after(&platform, &node, 1).await;
    assert!(!found.wrong, "{found:?}\n{}", node.log());
    let claimed = found.claimed.unwrap();
    assert!(claimed > 0, "too slow a machine to check: {found:?}");
    goes_by_what_it_showed(&found, claimed);

    // Its operator says that it is sixteen times as fast: one class too much is all that this can win, unless the machine was so much
    // busier when the node measured itself.
    let mut profile = platform.admin.node(&node.id).await.unwrap().profile;
    profile.gpu.as_mut().unwrap().compute = Some(claimed + 2);
    let client = speaking_for(&node, &platform.url);
    client
        .change_profile(&ChangeProfile { profile })
        .await
        .unwrap();
    let found = after(&platform, &node, 2).await;
    assert!(!found.wrong, "{found:?}\n{}", node.log());
    goes_by_what_it_showed(&found, claimed + 2);
    let folder = node.folder.to_str().unwrap();
    let table = platform.aevir(&["node", "status", "--data", folder]);
    let table = table.unwrap();
    let is_told = table.contains("SLOWER THAN CLAIMED");
    assert_eq!(is_told, found.slower_than_claimed, "{table}");
    explained(&platform).await;
}
