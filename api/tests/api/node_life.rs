//! Operators and administrators over HTTP: who may do what, and what a node is told.

use std::time::Duration;

use aevir_wire::{
    Action, Ask, ClientError, NodeFilter, NodeTerms, RevokeNode, RotateKey, SEALED_SHOWN_MAX,
    Secret, StopReason, Subject, Suspend, rotation_message,
};
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{FakeNode, Outcome, until},
    single,
};

/// How often, and after which pause, is looked at what follows the log.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(20);

async fn standing(node: &FakeNode) -> aevir_wire::NodeStanding {
    node.client.lease(&Ask::default()).await.unwrap().standing
}

fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    answer.unwrap_err().code().unwrap().to_owned()
}

#[tokio::test]
async fn a_node_is_drained_by_its_owner_or_itself_and_told_so() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    assert_eq!(standing(&node).await.standing, "working");
    let drained = node.owner.drain_node(&node.id).await.unwrap();
    assert_eq!(drained.standing, "draining");
    assert_eq!(standing(&node).await.standing, "draining");
    let task = single(&module).submit(&requester.client).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let waits = requester.client.task(&task.id).await.unwrap();
    assert_eq!(
        (waits.state.as_str(), waits.assignments.len()),
        ("queued", 0)
    );
    assert_eq!(
        node.client.resume_node(&node.id).await.unwrap().standing,
        "working"
    );
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task.id, "settled").await;
    let shown = node.client.node(&node.id).await.unwrap();
    assert_eq!((shown.earned.as_str(), shown.sealed_count), ("1000000", 0));
    // Others neither see it nor do anything with it.
    let other = platform.node("other").await;
    for client in [&other.owner, &other.client, &requester.client] {
        let code = code(client.drain_node(&node.id).await);
        assert!(
            ["unknown-node", "scope-missing"].contains(&code.as_str()),
            "{code}"
        );
        assert_eq!(
            client.node(&node.id).await.unwrap_err().code(),
            Some("unknown-node")
        );
    }
    // The list follows the log a moment later.
    let list = async || node.owner.nodes(&Default::default()).await.unwrap().nodes;
    let one = async || node.owner.node(&node.id).await.unwrap();
    for _ in 0..LOOKS {
        if list().await[0] == one().await {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(
        list().await[0],
        one().await,
        "lists and single nodes say the same"
    );
    platform.check_replay().await;
}

#[tokio::test]
async fn of_what_a_node_keeps_sealed_the_newest_are_named_and_all_are_counted() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let mut sealed = Vec::new();
    for _ in 0..SEALED_SHOWN_MAX + 2 {
        let task = single(&module).with("limits", json!({"output_mib": 1}));
        task.submit(&requester.client).await;
        let lease = node.lease().await;
        node.run(&lease, &Outcome::of(json!(1))).await;
        sealed.push(lease.assignment);
    }
    sealed.sort_unstable_by(|a, b| b.cmp(a));
    let newest = sealed.get(..SEALED_SHOWN_MAX).unwrap();
    platform.level().await;
    let listed = node.owner.nodes(&NodeFilter::default()).await.unwrap();
    for shown in [&node.client.node(&node.id).await.unwrap(), &listed.nodes[0]] {
        assert_eq!(shown.sealed_count, sealed.len() as u64);
        assert_eq!(shown.sealed, newest);
    }
}

#[tokio::test]
async fn a_node_that_leaves_is_gone_once_nothing_is_open() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    assert_eq!(
        node.owner.leave_market(&node.id).await.unwrap().standing,
        "leaving"
    );
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    assert_eq!(
        node.client.node(&node.id).await.unwrap().sealed,
        [lease.assignment]
    );
    node.reveal(&reveal).await.unwrap();
    until(&requester.client, &task.id, "settled").await;
    let gone = async {
        while node.owner.node(&node.id).await.unwrap().standing != "left" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap();
    assert_eq!(
        code(node.client.lease(&Ask::default()).await),
        "unauthenticated"
    );
    assert_eq!(code(node.owner.resume_node(&node.id).await), "node-gone");
    platform.check_replay().await;
}

#[tokio::test]
async fn a_revoked_node_is_shut_out_at_once() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    let revoke = RevokeNode {
        reason: "stolen".into(),
    };
    let stranger = platform.account("stranger").await;
    platform
        .refused(
            stranger.client.revoke_node(&node.id, &revoke),
            404,
            "unknown-node",
        )
        .await;
    let revoked = platform.admin.revoke_node(&node.id, &revoke).await.unwrap();
    assert_eq!(
        (
            revoked.standing.as_str(),
            revoked.standing_reason.as_deref(),
            revoked.active.len()
        ),
        ("revoked", Some("stolen"), 0)
    );
    assert_eq!(
        code(node.client.start(&lease.assignment).await),
        "unauthenticated"
    );
    let shown = requester.client.task(&task.id).await.unwrap();
    assert_eq!(shown.assignments[0].reason.as_deref(), Some("revoked"));
    let heir = platform.node("heir").await;
    heir.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task.id, "settled").await;
    platform.level().await;
    let filter = aevir_wire::NodeFilter::default();
    let listed = node.owner.nodes(&filter).await.unwrap().nodes;
    assert_eq!(listed[0].standing_reason.as_deref(), Some("stolen"));
    platform.check_replay().await;
}

#[tokio::test]
async fn terms_are_set_over_http_and_refused_with_what_is_wrong() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let terms: NodeTerms = serde_json::from_value(json!({
        "caps": {"runs": 1}, "hours": [{"from_min": 0, "to_min": 10_080}], "asks": {"training": "7"},
    }))
    .unwrap();
    let set = node.owner.set_node_terms(&node.id, &terms).await.unwrap();
    assert_eq!(set.terms, terms);
    assert_eq!(standing(&node).await.terms, terms);
    let path = format!("/v1/nodes/{}/terms", node.id);
    let key = Some(node.key.expose());
    for (body, code) in [
        (
            json!({"hours": [{"from_min": 9, "to_min": 1}]}),
            "node-terms-invalid",
        ),
        (json!({"asks": {"cooking": "1"}}), "field-invalid"),
        (json!({"modules": {"deny": ["xy"]}}), "field-invalid"),
        (json!({"hour": []}), "field-invalid"),
    ] {
        platform
            .refuse((Method::PUT, &path), key, body.to_string(), (422, code))
            .await;
    }
    node.client
        .set_node_terms(&node.id, &NodeTerms::default())
        .await
        .unwrap();
    platform.check_replay().await;
}

#[tokio::test]
async fn the_keys_are_changed_with_the_key_before() {
    let platform = TestPlatform::start().await;
    let node = platform.node("n").await;
    let (requester, module) = platform.requester().await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    node.client
        .put_output(&lease.assignment, "42")
        .await
        .unwrap();
    let report = node.report(&lease, &Outcome::of(json!(1)));
    let with_old_key = node.seal(&report);
    let next = SigningKey::from_bytes(&[9; 32]);
    let public = next.verifying_key().to_bytes();
    let api_key = Secret::new_key();
    let rotate = |by: &SigningKey| {
        let message = rotation_message(&node.id, public, api_key.hash_bytes());
        RotateKey {
            public_key: hex::encode(public),
            key_hash: api_key.hash(),
            signature: hex::encode(by.sign(&message).to_bytes()),
        }
    };
    let (forged, good) = (rotate(&next), rotate(node.signing()));
    platform
        .refused(node.client.rotate_key(&forged), 403, "bad-signature")
        .await;
    // Another API key than the one that was signed.
    let swapped = RotateKey {
        key_hash: Secret::new_key().hash(),
        ..good.clone()
    };
    platform
        .refused(node.client.rotate_key(&swapped), 403, "bad-signature")
        .await;
    let with_old_api_key = node.client.clone();
    node.client.rotate_key(&good).await.unwrap();
    // The API key before is dead at once, for whatever it would be used.
    platform
        .refused(with_old_api_key.rotate_key(&good), 401, "unauthenticated")
        .await;
    let ask = Ask::default();
    platform
        .refused(with_old_api_key.lease(&ask), 401, "unauthenticated")
        .await;
    let drain = with_old_api_key.drain_node(&node.id);
    platform.refused(drain, 401, "unauthenticated").await;
    let client = platform.client(api_key.expose());
    let mut node = node.moved(client);
    let before = platform.size();
    node.client.rotate_key(&good).await.unwrap();
    platform.assert_quiet_since(before).await;
    platform
        .refused(
            node.client.commit(&lease.assignment, &with_old_key),
            403,
            "bad-signature",
        )
        .await;
    node.sign_with(next);
    node.client
        .commit(&lease.assignment, &node.seal(&report))
        .await
        .unwrap();
    let result = json!(1);
    let reveal = aevir_wire::Reveal { report, result };
    node.reveal(&reveal).await.unwrap();
    until(&requester.client, &task.id, "settled").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn administrators_suspend_and_release() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let on = |subject| Suspend {
        subject,
        reason: "under inquiry".into(),
    };
    let account = on(Subject::Account(requester.id.clone()));
    platform
        .refused(requester.client.suspend(&account), 403, "scope-missing")
        .await;
    platform.admin.suspend(&account).await.unwrap();
    let definition = single(&module).0;
    let submit = requester.client.submit_task(&definition, None);
    let problem = platform.refused(submit, 403, "account-suspended").await;
    assert!(problem.detail.contains("under inquiry"));
    assert!(
        requester.client.account().await.is_ok(),
        "its key still reads"
    );
    let all = [
        account,
        on(Subject::Node(node.id.clone())),
        on(Subject::Module(module)),
    ];
    for subject in &all[1..] {
        platform.admin.suspend(subject).await.unwrap();
    }
    assert_eq!(
        standing(&node).await.suspended.as_deref(),
        Some("under inquiry")
    );
    let listed = platform.admin.suspensions().await.unwrap().suspensions;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|s| s.reason == "under inquiry"));
    for subject in &all {
        platform.admin.release(subject).await.unwrap();
        platform
            .refused(platform.admin.release(subject), 409, "not-suspended")
            .await;
    }
    assert!(
        platform
            .admin
            .suspensions()
            .await
            .unwrap()
            .suspensions
            .is_empty()
    );
    platform.check_replay().await;
}

#[tokio::test]
async fn a_stopping_node_gets_nothing_more() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let stopping = Ask {
        stopping: true,
        ..Ask::default()
    };
    node.client.lease(&stopping).await.unwrap();
    assert_eq!(
        node.owner.node(&node.id).await.unwrap().availability,
        "offline"
    );
    let task = single(&module).submit(&requester.client).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(
        requester.client.task(&task.id).await.unwrap().state,
        "queued"
    );
    // It is back.
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task.id, "settled").await;
}

#[tokio::test]
async fn a_stopping_node_is_handed_no_lease_and_gives_back_what_it_has_not_heard_of() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let task = single(&module).submit(&requester.client).await;
    // Placed on it, and not told.
    let placed = async {
        while node.owner.node(&node.id).await.unwrap().active.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, placed).await.unwrap();
    let stopping = Ask {
        max: 4,
        stopping: true,
        ..Ask::default()
    };
    let answer = node.client.lease(&stopping).await.unwrap();
    assert!(answer.leases.is_empty() && answer.directives.is_empty());
    let shown = node.owner.node(&node.id).await.unwrap();
    assert_eq!(shown.availability, "offline");
    assert!(shown.records.is_empty() && shown.active.is_empty());
    let waits = requester.client.task(&task.id).await.unwrap();
    assert_eq!((waits.state.as_str(), waits.attempts_spent), ("queued", 0));
    assert_eq!(waits.assignments[0].state, "returned");
    // What it has and has not started stays with it.
    let lease = node.lease().await;
    let stopping = Ask {
        holding: vec![lease.assignment.clone()],
        ..stopping
    };
    let answer = node.client.lease(&stopping).await.unwrap();
    assert!(answer.leases.is_empty() && answer.directives.is_empty());
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    node.reveal(&reveal).await.unwrap();
    until(&requester.client, &task.id, "settled").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_run_that_a_stopping_node_gives_back_costs_nothing() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    node.client.give_back(&lease.assignment).await.unwrap();
    let shown = node.owner.node(&node.id).await.unwrap();
    assert_eq!(shown.availability, "offline");
    assert!(shown.records.is_empty() && shown.active.is_empty());
    let waits = requester.client.task(&task.id).await.unwrap();
    assert_eq!((waits.state.as_str(), waits.attempts_spent), ("queued", 0));
    assert_eq!(waits.assignments[0].state, "returned");
    assert_eq!(waits.assignments[0].reason, None);
    assert_eq!(
        node.beat(&lease.assignment).await,
        Action::Stop {
            reason: StopReason::LeaseEnded
        }
    );
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task.id, "settled").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_faulty_node_backs_off_for_that_type_of_task_whoever_leads() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    let fail = aevir_wire::Fail {
        class: "host-error".into(),
        message: "disk".into(),
    };
    node.client.fail(&lease.assignment, &fail).await.unwrap();
    let before = node.client.node(&node.id).await.unwrap().records;
    let (kind, record) = before.first_key_value().unwrap();
    assert_eq!(*kind, lease.task_type);
    // Whose fault it was shows when the task has ended.
    assert!(record.classes.is_empty());
    assert_eq!(record.faults_in_a_row, 1);
    assert!(record.backoff_until.is_some());
    let platform = platform.restart().await;
    let reconnected = platform.client(node.key.expose());
    let node = node.moved(reconnected);
    let after = node.client.node(&node.id).await.unwrap().records;
    assert_eq!(after, before);
    // What it never did before, it may do at once.
    let other = single(&module).with("type", json!("evaluation"));
    let other = other.submit(&platform.client(&requester.key)).await;
    assert_eq!(node.lease().await.task, other.id);
}
