//! What the node protocol refuses, and what it answers twice.

use aevir_wire::{Action, Ask, Commit, StopReason, digest};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

#[tokio::test]
async fn a_commit_must_be_signed_by_the_node() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    let report = node.report(&lease, &Outcome::of(json!(1)));
    let commit = node.seal(&report);
    let id = &lease.assignment;
    platform
        .refused(
            node.client.commit(id, &commit),
            409,
            "assignment-not-started",
        )
        .await;
    node.client.start(id).await.unwrap();

    let thief = platform.node("thief").await;
    let forged = Commit {
        signature: thief.seal(&report).signature,
        ..commit.clone()
    };
    platform
        .refused(node.client.commit(id, &forged), 403, "bad-signature")
        .await;
    let other = Commit {
        commitment: "00".repeat(32),
        ..commit.clone()
    };
    platform
        .refused(node.client.commit(id, &other), 403, "bad-signature")
        .await;
    let garbage = Commit {
        signature: "zz".into(),
        ..commit.clone()
    };
    let problem = platform
        .refused(node.client.commit(id, &garbage), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/signature"));
    // The thief's own signature fits its own key, but the assignment is not its own.
    let stolen = thief.client.commit(id, &thief.seal(&report)).await;
    assert_eq!(stolen.unwrap_err().code(), Some("unknown-assignment"));

    node.client.commit(id, &commit).await.unwrap();
    let before = platform.size();
    node.client.commit(id, &commit).await.unwrap();
    assert_eq!(
        platform.size(),
        before,
        "a repeated commit is the same commit"
    );
    let second = node.report(&lease, &Outcome::of(json!(2)));
    let second = node.seal(&second);
    platform
        .refused(node.client.commit(id, &second), 409, "round-closed")
        .await;
}

#[tokio::test]
async fn a_reveal_must_fit_its_commitment_and_come_with_its_bytes() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    let id = &lease.assignment;
    node.client.start(id).await.unwrap();
    let outcome = Outcome::of(json!({"class": 7}));
    let report = node.report(&lease, &outcome);
    let reveal = aevir_wire::Reveal {
        report: report.clone(),
        result: outcome.result.clone(),
    };
    platform
        .refused(node.client.reveal(id, &reveal), 409, "reveal-too-early")
        .await;
    node.client.commit(id, &node.seal(&report)).await.unwrap();
    assert_eq!(node.beat(id).await, Action::Reveal);

    let unbacked = node.client.reveal(id, &reveal);
    platform.refused(unbacked, 409, "output-not-uploaded").await;
    node.client.put_output(id, &b"42"[..]).await.unwrap();
    let name = digest(b"42");
    let object = platform.dir().join("objects").join(&name[..2]).join(&name);
    std::fs::remove_file(object).unwrap();
    let problem = platform
        .refused(node.client.reveal(id, &reveal), 409, "output-missing")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/report/outputs/0"));
    node.client.put_output(id, &b"42"[..]).await.unwrap();
    let mut changed = reveal.clone();
    changed.report.metrics[0].value = "999999".into();
    platform
        .refused(node.client.reveal(id, &changed), 422, "reveal-mismatch")
        .await;
    let mut changed = reveal.clone();
    changed.result = json!({"class": 8});
    platform
        .refused(node.client.reveal(id, &changed), 422, "reveal-mismatch")
        .await;
    let mut changed = reveal.clone();
    changed.report.usage.fuel = "-1".into();
    let problem = platform
        .refused(node.client.reveal(id, &changed), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/report/usage/fuel"));

    node.client.reveal(id, &reveal).await.unwrap();
    until(&requester.client, &task.id, "settled").await;
    platform
        .refused(node.client.reveal(id, &reveal), 409, "lease-ended")
        .await;
}

#[tokio::test]
async fn a_reveal_waits_for_all_replicas() {
    let platform = TestPlatform::builder()
        .policy(|p| p.reveal_ms = 1_000)
        .start()
        .await;
    let (requester, module) = platform.requester().await;
    let nodes = [
        platform.node("a").await,
        platform.node("b").await,
        platform.node("c").await,
    ];
    let task = single(&module)
        .sampled(3, 2, 3)
        .submit(&requester.client)
        .await;
    let outcome = Outcome::of(json!(1));
    let first = nodes[0].lease().await;
    let early = nodes[0].run(&first, &outcome).await;
    assert_eq!(nodes[0].beat(&first.assignment).await, Action::Continue);
    let refused = nodes[0].client.reveal(&first.assignment, &early);
    platform.refused(refused, 409, "reveal-too-early").await;
    let mut reveals = vec![early];
    for node in &nodes[1..] {
        let lease = node.lease().await;
        reveals.push(node.run(&lease, &outcome).await);
    }
    // The third one never reveals.
    for (node, reveal) in nodes.iter().zip(&reveals).take(2) {
        node.reveal(reveal).await.unwrap();
    }
    let ended = until(&requester.client, &task.id, "settled").await;
    let refused = &ended.verdict.unwrap().refused;
    assert_eq!(
        (refused[0].node.as_str(), refused[0].reason.as_str()),
        (nodes[2].id.as_str(), "not-revealed")
    );
    let late = nodes[2]
        .client
        .reveal(&reveals[2].report.assignment, &reveals[2]);
    platform.refused(late, 409, "lease-ended").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_lease_is_handed_out_until_the_node_says_that_it_has_it() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    single(&module).submit(&requester.client).await;
    single(&module).submit(&requester.client).await;
    let first = node.lease().await;
    assert_eq!(node.lease().await, first, "the answer may have got lost");
    let ask = |holding: &[&str]| Ask {
        max: 8,
        wait_ms: 0,
        holding: holding.iter().map(|s| (*s).to_owned()).collect(),
        stopping: false,
        challenge: None,
    };
    let poll = |ask: Ask| {
        let client = node.client.clone();
        async move { client.lease(&ask).await.unwrap() }
    };
    let second = loop {
        let mut more = poll(ask(&[&first.assignment])).await;
        if let Some(lease) = more.leases.pop() {
            break lease;
        }
    };
    assert_ne!(second.assignment, first.assignment);
    let nothing = poll(ask(&[&first.assignment, &second.assignment])).await;
    assert!(nothing.leases.is_empty() && nothing.directives.is_empty());
    let unknown = poll(ask(&["01J00000000000000000000000"])).await;
    assert_eq!(
        unknown.directives[0].action,
        Action::Stop {
            reason: StopReason::Unknown
        }
    );
    node.client.start(&first.assignment).await.unwrap();
    let before = platform.size();
    node.client.start(&first.assignment).await.unwrap();
    assert_eq!(
        platform.size(),
        before,
        "a repeated start is the same start"
    );
    assert!(
        poll(ask(&[&second.assignment])).await.leases.is_empty(),
        "what has started is not leased again"
    );
}

#[tokio::test]
async fn a_waiting_poll_is_answered_when_work_comes() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let ask = Ask {
        max: 1,
        wait_ms: 20_000,
        holding: Vec::new(),
        stopping: false,
        challenge: None,
    };
    let begun = std::time::Instant::now();
    let submit = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        single(&module).submit(&requester.client).await
    };
    let (polled, task) = tokio::join!(node.client.lease(&ask), submit);
    assert_eq!(polled.unwrap().leases[0].task, task.id);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn uploads_of_a_run_are_checked_and_bounded() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).with("limits", json!({"output_mib": 1}));
    task.submit(&requester.client).await;
    let lease = node.lease().await;
    let id = &lease.assignment;
    let early = node.client.put_output(id, &b"early"[..]);
    platform.refused(early, 409, "assignment-not-started").await;
    node.client.start(id).await.unwrap();
    let key = Some(node.key.expose());
    let path = format!("/v1/node/assignments/{id}/outputs/{}", digest(b"expected"));
    let put = (Method::PUT, path.as_str());
    platform
        .refuse(put, key, "other", (422, "digest-mismatch"))
        .await;
    node.client.put_output(id, vec![1; 700_000]).await.unwrap();
    node.client.put_output(id, vec![1; 700_000]).await.unwrap();
    let more = node.client.put_output(id, vec![2; 700_000]);
    platform.refused(more, 413, "output-limit").await;
    let path = format!("/v1/node/assignments/{id}/inputs/nothing");
    platform
        .refuse((Method::GET, &path), key, "", (404, "unknown-input"))
        .await;
    let path = format!("/v1/node/assignments/{id}/checkpoint");
    platform
        .refuse((Method::GET, &path), key, "", (404, "unknown-checkpoint"))
        .await;

    let stranger = platform.node("stranger").await;
    let key = Some(stranger.key.expose());
    for (method, what) in [
        (Method::GET, "module".to_owned()),
        (Method::GET, "inputs/image".into()),
        (Method::GET, "checkpoint".into()),
        (Method::POST, format!("checkpoint?digest={}", digest(b"x"))),
        (Method::PUT, format!("outputs/{}", digest(b"x"))),
        (Method::POST, "start".into()),
    ] {
        let path = format!("/v1/node/assignments/{id}/{what}");
        platform
            .refuse((method, &path), key, "x", (404, "unknown-assignment"))
            .await;
    }
}
