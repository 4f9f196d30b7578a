//! Whole lives of tasks, driven by nodes that speak the protocol; the main ones on both databases.

use aevir_wire::{Action, Heartbeat, Heartbeats, LogLine, MetricValue, StopReason, TaskUpdate};
use serde_json::{Value, json};

use crate::support::{
    FUNDS, FakeNode, TestPlatform,
    node::{Outcome, until},
    single,
};

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

/// Submit, run, verify, settle: everything that can be read afterwards.
async fn settle(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let check = json!([{"method": "check", "bounds": [{"metric": "accuracy", "at_least": "0.95"}],
        "schema": {"type": "object", "required": ["class"]}}]);
    let task = single(&module)
        .with("verification", check)
        .submit(&requester.client)
        .await;
    assert_eq!(task.state, "queued");
    let outcome = Outcome::of(json!({"class": 7}));

    let lease = node.lease().await;
    assert_eq!(
        (lease.task.as_str(), lease.task_type.as_str()),
        (task.id.as_str(), "inference")
    );
    assert_eq!(lease.params, r#"{"a":1,"b":2}"#);
    assert_eq!(lease.module.digest, module);
    let file = platform.dir().join("fetched");
    let fetched = node
        .client
        .download_input(&lease.assignment, &lease.inputs[0], &file);
    assert_eq!(fetched.await.unwrap(), 7);
    assert_eq!(std::fs::read(&file).unwrap(), b"0 1 2 3");
    node.client
        .download_module(&lease.assignment, &lease.module, &file)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), crate::support::MODULE);

    let reveal = node.run(&lease, &outcome).await;
    let early = requester.client.task_result(&task.id);
    platform.refused(early, 409, "result-not-open").await;
    node.reveal(&reveal).await.unwrap();

    let ended = until(&requester.client, &task.id, "settled").await;
    assert!(ended.ended && ended.duration_ms.is_some());
    assert_eq!(ended.assignments.len(), 1);
    assert_eq!(ended.assignments[0].state, "accepted");
    assert_eq!(ended.assignments[0].node_name, "n");
    assert_eq!(ended.assignments[0].report.as_ref(), Some(&reveal.report));
    let verdict = ended.verdict.unwrap();
    assert_eq!(verdict.verdict, "passed");
    assert!(verdict.checks.iter().all(|c| c.passed) && verdict.checks.len() == 2);
    let settlement = ended.settlement.unwrap();
    let shares: i64 = settlement.shares.iter().map(|s| number(&s.amount)).sum();
    assert_eq!(shares, number(&settlement.fee));
    assert_eq!(
        number(&settlement.fee) + number(&settlement.refund),
        number(&task.escrow)
    );

    let result = requester.client.task_result(&task.id).await.unwrap();
    assert_eq!(result.result, json!({"class": 7}));
    assert_eq!(result.metrics[0].value, "970000");
    let output = &result.outputs[0];
    requester
        .client
        .download_output(&task.id, "answer", &output.digest, &file)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"42");
    let absent = requester
        .client
        .download_output(&task.id, "nothing", &output.digest, &file);
    platform.refused(absent, 404, "unknown-output").await;

    let paid = requester.client.account().await.unwrap();
    assert_eq!(
        number(&paid.available),
        number(FUNDS) - number(&settlement.fee)
    );
    let earner = node.owner.account().await.unwrap();
    assert_eq!(earner.available, "1000000");
    assert!(number(&earner.points.compute) > 0);
    assert_eq!(
        node.owner.node(&node.id).await.unwrap().records["inference"].classes["cpu"]
            .good_thousandths,
        1_000
    );
    assert_eq!(
        node.beat(&lease.assignment).await,
        Action::Stop {
            reason: StopReason::Done
        }
    );
    platform.check_replay().await;
}

#[tokio::test]
async fn a_task_settles() {
    settle(TestPlatform::start().await).await;
}

#[tokio::test]
async fn a_task_settles_on_postgres() {
    settle(TestPlatform::builder().postgres().start().await).await;
}

/// Two agree, one does not: it is refused and worse off, the task settles.
async fn refuse_the_odd_one_out(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let nodes = [
        platform.node("a").await,
        platform.node("b").await,
        platform.node("c").await,
    ];
    let honest = Outcome::of(json!({"class": 7}));
    // Points to lose.
    let task = single(&module).submit(&requester.client).await;
    let earlier = nodes[0].work(&honest).await;
    assert_eq!(earlier.task, task.id);
    let rich = nodes[0].owner.account().await.unwrap().points.compute;

    for node in &nodes {
        node.appear().await;
    }
    let task = single(&module)
        .sampled(3, 2, 3)
        .submit(&requester.client)
        .await;
    let lied = Outcome::of(json!({"class": 8}));
    let mut reveals = Vec::new();
    for (node, outcome) in nodes.iter().zip([&lied, &honest, &honest]) {
        let lease = node.lease().await;
        reveals.push((node, node.run(&lease, outcome).await));
    }
    for (node, reveal) in &reveals {
        node.reveal(reveal).await.unwrap();
    }
    let ended = until(&requester.client, &task.id, "settled").await;
    let verdict = ended.verdict.unwrap();
    assert_eq!(verdict.accepted.len(), 2);
    assert_eq!(verdict.refused.len(), 1);
    assert_eq!(verdict.refused[0].node, nodes[0].id);
    assert_eq!(verdict.refused[0].reason, "mismatch");
    let liar = ended
        .assignments
        .iter()
        .find(|a| a.node == nodes[0].id)
        .unwrap();
    assert_eq!(
        (liar.state.as_str(), liar.reason.as_deref()),
        ("refused", Some("mismatch"))
    );
    let poor = nodes[0].owner.account().await.unwrap();
    assert!(
        number(&poor.points.compute) < number(&rich),
        "a lie costs points"
    );
    assert_eq!(poor.available, "1000000", "and earns nothing");
    assert_eq!(nodes[1].owner.account().await.unwrap().available, "1000000");
    platform.check_replay().await;
}

#[tokio::test]
async fn a_lie_is_refused() {
    refuse_the_odd_one_out(TestPlatform::start().await).await;
}

#[tokio::test]
async fn a_lie_is_refused_on_postgres() {
    refuse_the_odd_one_out(TestPlatform::builder().postgres().start().await).await;
}

#[tokio::test]
async fn disagreement_brings_one_more_replica() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let nodes = [
        platform.node("a").await,
        platform.node("b").await,
        platform.node("c").await,
    ];
    let task = single(&module)
        .sampled(3, 2, 2)
        .submit(&requester.client)
        .await;
    let outcomes = [json!(1), json!(2), json!(1)].map(Outcome::of);
    // Only the first two are there at first.
    let mut reveals = Vec::new();
    for (node, outcome) in nodes.iter().zip(&outcomes).take(2) {
        let lease = node.lease().await;
        reveals.push((node, node.run(&lease, outcome).await));
    }
    for (node, reveal) in &reveals {
        node.reveal(reveal).await.unwrap();
    }
    let extended = requester.client.task(&task.id).await.unwrap();
    assert_eq!((extended.round, extended.replicas_wanted), (2, 3));
    assert_eq!(
        extended.assignments[0].report, None,
        "revealed, but not paid for"
    );
    nodes[2].work(&outcomes[2]).await;
    let ended = until(&requester.client, &task.id, "settled").await;
    assert_eq!(ended.verdict.unwrap().refused[0].node, nodes[1].id);
    platform.check_replay().await;
}

#[tokio::test]
async fn a_bound_that_is_not_met_pays_the_compute() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let check =
        json!([{"method": "check", "bounds": [{"metric": "accuracy", "at_least": "0.99"}]}]);
    let task = single(&module)
        .with("verification", check)
        .submit(&requester.client)
        .await;
    node.work(&Outcome::of(json!("poor"))).await;
    let ended = until(&requester.client, &task.id, "unmet").await;
    assert!(!ended.verdict.unwrap().checks[0].passed);
    assert_eq!(node.owner.account().await.unwrap().available, "1000000");
    let result = requester.client.task_result(&task.id).await.unwrap();
    assert_eq!(
        (result.state.as_str(), result.result),
        ("unmet", json!("poor"))
    );
}

#[tokio::test]
async fn nodes_that_never_agree_get_an_attempt_fee() {
    let platform = TestPlatform::start().await;
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
    let mut reveals = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let lease = node.lease().await;
        reveals.push((node, node.run(&lease, &Outcome::of(json!(n))).await));
    }
    for (node, reveal) in &reveals {
        node.reveal(reveal).await.unwrap();
    }
    let ended = until(&requester.client, &task.id, "inconclusive").await;
    assert!(ended.verdict.unwrap().refused.is_empty());
    assert_eq!(nodes[0].owner.account().await.unwrap().available, "1000");
    platform
        .refused(
            requester.client.task_result(&task.id),
            409,
            "result-not-open",
        )
        .await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_task_waits_for_the_tasks_it_depends_on() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let first = single(&module).submit(&requester.client).await;
    let dependency = json!([{"task": first.id, "output": "answer", "as": "question"}]);
    let second = single(&module)
        .with("depends_on", dependency)
        .submit(&requester.client)
        .await;
    assert_eq!(second.state, "created");
    node.work(&Outcome::of(json!(1))).await;
    let lease = node.lease().await;
    assert_eq!(lease.task, second.id);
    let names: Vec<_> = lease.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["image", "question"]);
    let file = platform.dir().join("input");
    node.client
        .download_input(&lease.assignment, &lease.inputs[1], &file)
        .await
        .unwrap();
    assert_eq!(std::fs::read(file).unwrap(), b"42");
}

#[tokio::test]
async fn a_watcher_sees_a_task_from_lease_to_settlement() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await;
    let mut updates = requester.client.watch_task(&task.id).await.unwrap();
    let first = updates.next_update().await.unwrap().unwrap();
    assert!(matches!(first, TaskUpdate::Task { task } if task.state == "queued"));
    run_with_progress(&node).await;
    let mut kinds = Vec::new();
    let mut last = None;
    while let Some(update) = updates.next_update().await {
        match update.unwrap() {
            TaskUpdate::Event { kind, data, .. } => {
                if kind == "assignment.revealed" {
                    assert_eq!(data["report"], Value::Null, "sealed until the verdict");
                }
                kinds.push(kind);
            }
            TaskUpdate::Progress { ppm, note, .. } => kinds.push(format!("{ppm} {note}")),
            TaskUpdate::Log { line } => kinds.push(format!("{}: {}", line.level, line.text)),
            TaskUpdate::Metric { metric } => {
                kinds.push(format!("{}={}", metric.name, metric.value))
            }
            TaskUpdate::Task { task } => last = Some(task),
        }
    }
    assert_eq!(last.unwrap().state, "settled");
    for kind in [
        "assignment.leased",
        "assignment.started",
        "250000 epoch 1",
        "info: epoch 1",
        "loss=120000",
        "assignment.progressed",
        "assignment.committed",
        "task.round_closed",
        "assignment.revealed",
        "task.verified",
        "task.settled",
    ] {
        assert!(
            kinds.iter().any(|k| k == kind),
            "{kind} is missing in {kinds:?}"
        );
    }
    let log = requester.client.task_log(&task.id).await.unwrap();
    assert_eq!(
        (
            log.lines.len(),
            log.metrics.len(),
            log.lines_dropped.as_str()
        ),
        (1, 1, "3")
    );
}

async fn run_with_progress(node: &FakeNode) {
    let lease = node.lease().await;
    node.client.start(&lease.assignment).await.unwrap();
    let beat = Heartbeat {
        assignment: lease.assignment.clone(),
        ppm: 250_000,
        note: "epoch 1".into(),
        logs: vec![LogLine {
            level: "info".into(),
            text: "epoch 1".into(),
        }],
        lines_left_out: 3,
        first_line: Some(0),
        logs_dropped: 0,
        first_metric: Some(0),
        metrics: vec![MetricValue {
            name: "loss".into(),
            step: "1".into(),
            value: "120000".into(),
        }],
    };
    let beats = Heartbeats {
        assignments: vec![beat],
        stopping: false,
    };
    node.client.heartbeat(&beats).await.unwrap();
    // As a node tells it that had no answer.
    node.client.heartbeat(&beats).await.unwrap();
    let reveal = node.run(&lease, &Outcome::of(json!(1))).await;
    node.reveal(&reveal).await.unwrap();
}
