//! How often a node may write into the log of itself, and an account what costs it nothing.

use std::time::Duration;

use aevir_wire::{Heartbeats, IDEMPOTENCY_KEY, OpenAccount, RotateKey, Secret, rotation_message};
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::json;

use crate::support::{TestPlatform, single};

/// What there is of a type in the log.
async fn recorded(platform: &TestPlatform, label: &str) -> usize {
    let entries = platform.entries(0).await;
    entries
        .iter()
        .filter(|entry| entry["type"] == label)
        .count()
}

#[tokio::test]
async fn a_node_that_comes_and_goes_all_the_time_does_not_fill_the_log() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    for n in 0..100 {
        let stopping = n % 2 == 1;
        let beat = Heartbeats {
            stopping,
            ..Heartbeats::default()
        };
        node.client.heartbeat(&beat).await.unwrap();
    }
    let flips = recorded(&platform, "node.availability_changed").await;
    assert!((4..=20).contains(&flips), "{flips} of a hundred");
    // It is not taken for being there once it said that it goes.
    let view = platform.admin.node(&node.id).await.unwrap();
    assert_eq!(view.availability, "offline");
    single(&module).submit(&requester.client).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(recorded(&platform, "assignment.leased").await, 0);
    // Another one is not held up by it.
    let other = platform.node("other").await;
    other.lease().await;
}

#[tokio::test]
async fn a_node_says_so_much_of_itself_and_no_more() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let path = format!("/v1/nodes/{}/terms", node.id);
    let set = async |memory_mib: usize| {
        let terms = json!({"caps": {"memory_mib": memory_mib}}).to_string();
        let key = Some(node.key.expose());
        platform.raw(Method::PUT, &path, key, terms).await
    };
    let mut taken = 0;
    let (status, headers, body) = loop {
        let answer = set(1_000 + taken).await;
        if answer.0 != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 200, "there is a limit");
    };
    assert_eq!(status, 429);
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait} s");
    let problem: aevir_wire::Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, "too-many-changes");
    let said = format!("the next one is taken in {wait} s");
    assert!(problem.detail.contains(&said), "{}", problem.detail);
    assert_eq!(recorded(&platform, "node.terms_changed").await, taken);
    // By whatever else changes it. On a connection of its own: the client's may have stood idle for too long by now.
    let drain = format!("/v1/nodes/{}/drain", node.id);
    let expected = (429, "too-many-changes");
    let key = Some(node.key.expose());
    let call = (Method::POST, drain.as_str());
    platform.refuse(call, key, "", expected).await;
    let other = platform.node("other").await;
    other.owner.drain_node(&other.id).await.unwrap();
}

#[tokio::test]
async fn a_run_keeps_so_many_checkpoints_and_no_more() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    let mut kept = 0;
    let answer = loop {
        let bytes = format!("checkpoint {kept}");
        let digest = aevir_wire::digest(bytes.as_bytes());
        let id = &lease.assignment;
        let path = format!("/v1/node/assignments/{id}/checkpoint?digest={digest}");
        let key = Some(node.key.expose());
        let (status, _, _) = platform.raw(Method::POST, &path, key, bytes).await;
        if status != 200 {
            break status;
        }
        kept += 1;
        assert!(kept < 100, "there is a limit");
    };
    assert_eq!(answer, 429);
    assert_eq!(recorded(&platform, "assignment.checkpointed").await, kept);
}

#[tokio::test]
async fn an_account_writes_so_much_for_nothing_and_no_more() {
    /// Calls at once.
    const AT_ONCE: usize = 32;
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    // Calling off is never refused.
    let mut task = single(&module).submit(&requester.client).await;
    for _ in 0..600 {
        requester.client.cancel_task(&task.id).await.unwrap();
        task = single(&module).submit(&requester.client).await;
    }
    let http = reqwest::Client::builder()
        .tls_certs_only([])
        .build()
        .unwrap();
    let post = |path: &str| {
        let call = http.post(format!("{}{path}", platform.server.url()));
        call.bearer_auth(&requester.key)
    };
    let cancel = format!("/v1/tasks/{}/cancel", task.id);
    let cancelled = post(&cancel).header(IDEMPOTENCY_KEY, "once").send();
    assert_eq!(cancelled.await.unwrap().status(), 200);
    let (mut asked, mut taken) = (0, 0);
    let refused = loop {
        asked += AT_ONCE;
        assert!(asked < 4_096, "there is a limit");
        let calls = (0..AT_ONCE).map(|_| post("/v1/join-tokens").body("{}").send());
        let answers = futures::future::join_all(calls).await;
        let mut answers = answers.into_iter().map(Result::unwrap);
        let refused = answers.find(|answer| {
            taken += usize::from(answer.status() == 201);
            answer.status() == 429
        });
        if let Some(refused) = refused {
            break refused;
        }
    };
    // What was taken is answered again, and what is stolen can be revoked.
    for _ in 0..3 {
        let again = post(&cancel).header(IDEMPOTENCY_KEY, "once").send();
        assert_eq!(again.await.unwrap().status(), 200);
    }
    assert!(taken > 400, "{taken}");
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem = refused.bytes().await.unwrap();
    let problem: aevir_wire::Problem = serde_json::from_slice(&problem).unwrap();
    assert_eq!(problem.code, "too-many-changes");
    // Another account is not held up by it.
    platform.node("other").await;
    let key = requester.client.keys(None).await.unwrap().keys.remove(0);
    requester.client.revoke_key(&key.id).await.unwrap();
}

#[tokio::test]
async fn who_may_not_change_a_node_uses_up_nothing_of_its_owners() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let scopes = ["read", "audit", "nodes:write"].map(str::to_owned);
    let opened = OpenAccount {
        name: "stranger".into(),
        scopes: Some(scopes.to_vec()),
    };
    let stranger = platform.admin.open_account(&opened).await.unwrap();
    let drain = format!("/v1/nodes/{}/drain", node.id);
    for _ in 0..50 {
        let key = Some(stranger.key.as_str());
        let (status, _, _) = platform.raw(Method::POST, &drain, key, "").await;
        assert_eq!(status, 403);
    }
    node.owner.drain_node(&node.id).await.unwrap();
}

#[tokio::test]
async fn a_stolen_api_key_keeps_nobody_from_draining_the_node_or_from_replacing_the_key() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let key = Some(node.key.expose());
    let standing = |verb: &str| format!("/v1/nodes/{}/{verb}", node.id);
    let mut refused = 0;
    for n in 0..50 {
        let verb = standing(["drain", "resume"][n % 2]);
        let (status, _, _) = platform.raw(Method::POST, &verb, key, "").await;
        refused += usize::from(status == 429);
    }
    assert!(refused > 0, "there is a limit");
    // Forged rotations use up nothing either.
    let next = SigningKey::from_bytes(&[9; 32]);
    let (public, api_key) = (next.verifying_key().to_bytes(), Secret::new_key());
    let message = rotation_message(&node.id, public, api_key.hash_bytes());
    let rotation = |by: &SigningKey| RotateKey {
        public_key: hex::encode(public),
        key_hash: api_key.hash(),
        signature: hex::encode(by.sign(&message).to_bytes()),
    };
    for _ in 0..50 {
        let forged = serde_json::to_string(&rotation(&next)).unwrap();
        let (status, _, _) = platform
            .raw(Method::POST, "/v1/node/key", key, forged)
            .await;
        assert_eq!(status, 403);
    }
    node.owner.drain_node(&node.id).await.unwrap();
    let good = rotation(node.signing());
    node.client.rotate_key(&good).await.unwrap();
    let (status, _, _) = platform
        .raw(Method::POST, &standing("resume"), key, "")
        .await;
    assert_eq!(status, 401, "the stolen one is dead");
}
