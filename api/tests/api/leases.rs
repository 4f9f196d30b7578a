//! Runs that do not come to their end: silence, failure, cancellation; and how work goes on elsewhere.

use aevir_wire::{
    Action, ChangeProfile, Fail, NodeProfile, RUNTIME_FAST, RUNTIME_REPRODUCIBLE, StopReason,
};
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, profile, until},
    single,
};

/// A node falls silent in the middle of a run; another one finishes it.
async fn lose_a_lease(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let dying = platform.node("dying").await;
    let task = single(&module).submit(&requester.client).await;
    let lost = dying.lease().await;
    dying.client.start(&lost.assignment).await.unwrap();
    assert_eq!(dying.beat(&lost.assignment).await, Action::Continue);

    let heir = platform.node("heir").await;
    let lease = heir.lease().await;
    assert_eq!(lease.task, task.id);
    let late = dying.report(&lost, &Outcome::of(json!(1)));
    let late_commit = dying.seal(&late);
    let refused = dying.client.commit(&lost.assignment, &late_commit);
    platform.refused(refused, 409, "lease-ended").await;
    assert_eq!(
        dying.beat(&lost.assignment).await,
        Action::Stop {
            reason: StopReason::LeaseEnded
        }
    );
    let reveal = heir.run(&lease, &Outcome::of(json!(1))).await;
    heir.reveal(&reveal).await.unwrap();
    let ended = until(&requester.client, &task.id, "settled").await;
    assert_eq!(ended.attempts_spent, 1);
    let states: Vec<_> = ended.assignments.iter().map(|a| a.state.as_str()).collect();
    assert_eq!(states, ["lost", "accepted"]);
    assert_eq!(ended.assignments[0].reason.as_deref(), Some("silent"));
    platform.check_replay().await;
}

#[tokio::test]
async fn a_silent_node_loses_its_lease() {
    let platform = TestPlatform::builder()
        .policy(|p| p.lease_ms = 1_000)
        .start()
        .await;
    lose_a_lease(platform).await;
}

#[tokio::test]
async fn a_silent_node_loses_its_lease_on_postgres() {
    let platform = TestPlatform::builder()
        .postgres()
        .policy(|p| p.lease_ms = 1_000)
        .start()
        .await;
    lose_a_lease(platform).await;
}

#[tokio::test]
async fn a_lease_that_is_not_started_is_lost_and_one_that_shows_life_is_not() {
    let platform = TestPlatform::builder()
        .policy(|p| {
            p.accept_ms = 1_000;
            p.lease_ms = 1_000;
        })
        .start()
        .await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    // Fetching takes its time; heartbeats keep the lease.
    for _ in 0..8 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(node.beat(&lease.assignment).await, Action::Continue);
    }
    assert_eq!(
        node.directive(&lease.assignment).await,
        Action::Stop {
            reason: StopReason::LeaseEnded
        }
    );
    let view = requester.client.task(&task.id).await.unwrap();
    assert_eq!(view.assignments[0].reason.as_deref(), Some("not-started"));
}

#[tokio::test]
async fn a_cancelled_task_stops_its_nodes_and_pays_for_what_was_done() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    let closed = requester.client.cancel_task(&task.id).await.unwrap();
    // Its part of ten minutes by the time that it ran, and the attempt fee at least.
    let fee: i64 = closed.fee.parse().unwrap();
    assert!((1_000..100_000).contains(&fee), "{fee}");
    let told = node.directive(&lease.assignment).await;
    assert_eq!(
        told,
        Action::Stop {
            reason: StopReason::Withdrawn
        }
    );
    let report = node.report(&lease, &Outcome::of(json!(1)));
    let late = node.seal(&report);
    platform
        .refused(
            node.client.commit(&lease.assignment, &late),
            409,
            "lease-ended",
        )
        .await;
    let upload = node.client.put_output(&lease.assignment, &b"late"[..]);
    platform.refused(upload, 409, "lease-ended").await;
    assert_eq!(node.owner.account().await.unwrap().available, closed.fee);
    platform.check_replay().await;
}

#[tokio::test]
async fn failures_move_a_task_on_until_its_attempts_are_spent() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let nodes = [platform.node("a").await, platform.node("b").await];
    let task = single(&module).with("retry", json!({"max_attempts": 2}));
    let task = task.submit(&requester.client).await;
    for node in &nodes {
        let lease = node.lease().await;
        node.client.start(&lease.assignment).await.unwrap();
        let fail = Fail {
            class: "trap".into(),
            message: "unreachable".into(),
        };
        node.client.fail(&lease.assignment, &fail).await.unwrap();
        let again = node.client.fail(&lease.assignment, &fail);
        platform.refused(again, 409, "lease-ended").await;
    }
    let ended = until(&requester.client, &task.id, "failed").await;
    assert!(ended.detail.unwrap().contains("2 attempts"));
    assert_eq!(ended.assignments[0].reason.as_deref(), Some("trap"));
    assert_eq!(ended.assignments[0].message.as_deref(), Some("unreachable"));
    assert_eq!(nodes[0].owner.account().await.unwrap().available, "1000");
}

#[tokio::test]
async fn a_run_resumes_from_the_checkpoint_of_the_one_before() {
    let platform = TestPlatform::builder()
        .policy(|p| p.lease_ms = 1_000)
        .start()
        .await;
    let (requester, module) = platform.requester().await;
    let dying = platform.node("dying").await;
    let task = single(&module).submit(&requester.client).await;
    let lost = dying.lease().await;
    let save = |bytes: &'static [u8]| dying.client.save_checkpoint(&lost.assignment, bytes);
    platform
        .refused(save(b"early"), 409, "assignment-not-started")
        .await;
    dying.client.start(&lost.assignment).await.unwrap();
    let saved = save(b"half way").await.unwrap();
    platform.refused(save(b""), 422, "checkpoint-invalid").await;

    let heir = platform.node("heir").await;
    let lease = heir.lease().await;
    assert_eq!(lease.checkpoint.as_ref(), Some(&saved.checkpoint));
    let file = platform.dir().join("checkpoint");
    heir.client
        .download_checkpoint(&lease.assignment, &saved.checkpoint, &file)
        .await
        .unwrap();
    assert_eq!(std::fs::read(file).unwrap(), b"half way");
    let reveal = heir.run(&lease, &Outcome::of(json!(1))).await;
    heir.reveal(&reveal).await.unwrap();
    let ended = until(&requester.client, &task.id, "settled").await;
    let resumed = ended.assignments[1].resumed_from.as_deref();
    assert_eq!(resumed, Some(saved.checkpoint.digest.as_str()));
    let author = ended.assignments[1].checkpoint_author.as_deref();
    assert_eq!(author, Some(dying.id.as_str()));
    let report = ended.assignments[1].report.as_ref().unwrap();
    assert_eq!(report.resumed_from.as_deref(), resumed);
    assert!(ended.assignments[0].checkpoint_author.is_none());
}

/// The runtime goes by what the requester asks for, so that it does not tell whether anybody compares; the terms stand in the lease.
#[tokio::test]
async fn a_lease_names_the_runtime_and_the_terms_and_not_the_verification() {
    let platform = TestPlatform::builder().start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    for (definition, runtime) in [
        (single(&module), RUNTIME_REPRODUCIBLE),
        (
            single(&module).with("verification", json!([{"method": "check", "schema": {}}])),
            RUNTIME_REPRODUCIBLE,
        ),
        (single(&module).sampled(1, 1, 1), RUNTIME_REPRODUCIBLE),
        (
            single(&module).with("runtime", json!("fast/1")),
            RUNTIME_FAST,
        ),
    ] {
        definition.submit(&requester.client).await;
        let lease = node.lease().await;
        assert_eq!(lease.runtime, runtime, "{:?}", definition.0);
        let pay = lease.pay.as_ref().unwrap();
        assert_eq!(
            (pay.price.as_str(), pay.late_price.as_str()),
            ("1000000", "1000000")
        );
        let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
        node.reveal(&reveal).await.unwrap();
    }
}

/// The driver itself wakes for a run in danger, and the node that was overtaken is told to stop.
#[tokio::test]
async fn a_stuck_run_is_overtaken_by_a_duplicate() {
    let platform = TestPlatform::builder().start().await;
    let (requester, module) = platform.requester().await;
    let stuck = platform.node("stuck").await;
    let hurried = single(&module).with("qos", json!({"max_latency_ms": 2_000}));
    let task = hurried.submit(&requester.client).await;
    let slow = stuck.lease().await;
    stuck.client.start(&slow.assignment).await.unwrap();

    let rescuer = platform.node("rescuer").await;
    let lease = rescuer.lease().await;
    assert_eq!(lease.task, task.id);
    assert_eq!(stuck.beat(&slow.assignment).await, Action::Continue);
    let reveal = rescuer.run(&lease, &Outcome::of(json!(1))).await;
    // Nobody knows yet whether what is sealed will be shown.
    assert_eq!(stuck.beat(&slow.assignment).await, Action::Continue);
    rescuer.reveal(&reveal).await.unwrap();
    let withdrawn = Action::Stop {
        reason: StopReason::Withdrawn,
    };
    assert_eq!(stuck.beat(&slow.assignment).await, withdrawn);
    let ended = until(&requester.client, &task.id, "settled").await;
    assert_eq!(ended.attempts_spent, 1);
    let states: Vec<_> = ended.assignments.iter().map(|a| a.state.as_str()).collect();
    assert_eq!(states, ["withdrawn", "accepted"]);
    assert_eq!(stuck.owner.account().await.unwrap().available, "1000");
}

/// Many leases that end together are lost in a few commits, and what waits for their nodes is placed with them.
#[tokio::test]
async fn leases_that_run_out_together_are_lost_together() {
    const RUNS: usize = 96;
    let platform = TestPlatform::builder()
        .faulty()
        .policy(|p| {
            p.accept_ms = 2_000;
            p.scheduling.unproven_slots = 256;
        })
        .start()
        .await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("wide").await;
    let wide = ChangeProfile {
        profile: NodeProfile {
            slots: RUNS as u32,
            cpu_cores: RUNS as u32,
            memory_mib: 65_536,
            storage_mib: 65_536,
            ..profile("wide")
        },
    };
    node.client.change_profile(&wide).await.unwrap();
    for _ in 0..RUNS {
        single(&module).submit(&requester.client).await;
    }
    let of = async |label: &str| {
        let entries = platform.entries(0).await;
        entries.iter().filter(|e| e["type"] == label).count()
    };
    node.appear().await;
    while of("assignment.leased").await < RUNS {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let faults = platform.faults.clone().unwrap();
    let before = faults.appends();
    while of("assignment.lost").await < RUNS {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let commits = faults.appends() - before;
    assert!(commits <= RUNS / 4, "{commits} commits for {RUNS} leases");
    platform.check_replay().await;
}
