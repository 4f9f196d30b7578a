//! What nodes bring of a sample can't be read before the verdict, and is opened with it.

use aevir_events::{Entry, Event as _};
use aevir_platform::{
    command::Command,
    event::{Event, TaskExtended, Verdict},
    ids::{AssignmentId, NodeId, TaskId},
    policy::{Policy, Reveals},
    report::Artifact,
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{AT_ONCE_MS, Run, World, immediate, labels, recompute},
};

/// Two replicas at first, and up to three, all of the first round at once.
fn sampled() -> Value {
    json!({
        "verification": [{"method": "sampling", "replicas": 3, "quorum": 2, "initial": 2}],
        "qos": {"max_latency_ms": AT_ONCE_MS},
        "privacy": {"publish": "full"},
    })
}

/// What the log holds of a task, as its readers see it.
fn told(w: &World, task: TaskId) -> String {
    let stream = format!("task/{task}");
    let of_task = w.log.iter().filter(|r| r.event.stream() == stream);
    of_task.map(|r| r.event.to_data().to_string()).collect()
}

/// Whatever would tell a reader what a run brought.
fn tells(log: &str, run: &Run) -> bool {
    let report = &run.report;
    let mut digests: Vec<String> = report
        .outputs
        .iter()
        .map(|o| o.digest.to_string())
        .collect();
    digests.extend([report.result.digest.to_string(), report.salt.to_string()]);
    digests.iter().any(|digest| log.contains(digest)) || log.contains(&run.result.to_string())
}

/// The first round of a sample has disagreed: the task, and what was shown.
fn disagreed(w: &mut World) -> (TaskId, Vec<Run>) {
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let task = w.task(sampled());
    let leases = w.plan();
    let mut runs = Vec::new();
    for (n, (_, assignment, _)) in leases.iter().enumerate() {
        w.start(*assignment);
        let run = w.run(*assignment, json!({"cat": n}), &[("accuracy", "0.5")]);
        w.commit(&run);
        runs.push(run);
    }
    assert_eq!(labels(&w.reveal(&runs[0])), ["assignment.shown"]);
    let last = w.reveal(&runs[1]);
    assert_eq!(labels(&last), ["assignment.shown", "task.extended"]);
    (task, runs)
}

/// The replica that decides agrees with the first one.
fn decided(w: &mut World) -> (Run, Vec<Event>) {
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({"cat": 0}), &[("accuracy", "0.5")]);
    w.commit(&run);
    let events = w.reveal(&run);
    (run, events)
}

#[test]
fn nobody_reads_a_result_before_the_verdict_and_everybody_afterwards() {
    let mut w = World::new();
    let (task, runs) = disagreed(&mut w);
    let before = told(&w, task);
    assert!(runs.iter().all(|run| !tells(&before, run)), "{before}");
    // A report says the same again, and another one is no reveal.
    assert!(w.reveal(&runs[0]).is_empty());
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!((counts.reveals, counts.reveals_closed), (0, 2));

    let (last, events) = decided(&mut w);
    let opened = ["assignment.revealed"; 3];
    assert_eq!(
        labels(&events)[..4],
        [&opened[..], &["task.verified"]].concat()
    );
    let after = told(&w, task);
    assert!(runs.iter().chain([&last]).all(|run| tells(&after, run)));
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!((verdict.accepted.len(), verdict.refused.len()), (2, 1));
    assert_eq!(verdict.published, Some(json!({"cat": 0})));
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!(
        (counts.reveals, counts.reveals_closed, counts.extensions),
        (3, 0, 1)
    );
    w.check_replay();
    documents_agree(&w, "closed");
}

#[test]
fn a_result_alone_and_a_market_of_old_have_theirs_open() {
    let mut w = World::new();
    w.node("a");
    let task = w.task(json!({"privacy": {"publish": "full"}}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({"cat": 0}), &[]);
    w.commit(&run);
    assert!(told(&w, task).contains(&run.report.outputs[0].digest.to_string()));
    w.reveal(&run);
    assert!(tells(&told(&w, task), &run));

    let mut policy = immediate();
    policy.verification.reveals = Reveals::Open;
    let mut w = World::with_policy(policy);
    w.node("a");
    w.node("b");
    let task = w.task(sampled());
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({"cat": 0}), &[]);
    w.commit(&run);
    assert!(told(&w, task).contains(&run.report.outputs[0].digest.to_string()));
    w.finish(task, |_| json!({"cat": 0}));
    assert_eq!(w.phase(task), "settled");
    w.check_replay();
}

/// A result with as much as there may be of everything.
fn large(w: &World, assignment: AssignmentId) -> Run {
    let name = |kind: &str, n: usize| format!("{:-<64}", format!("{kind}-{n:02}"));
    let metrics: Vec<String> = (0..64).map(|n| name("metric", n)).collect();
    let metrics: Vec<(&str, &str)> = metrics
        .iter()
        .map(|m| (m.as_str(), "1234567890.5"))
        .collect();
    let mut run = w.run(assignment, json!({"t": "x".repeat(20_460)}), &metrics);
    let one = run.report.outputs[0].clone();
    run.report.outputs = (0..64)
        .map(|n| Artifact {
            name: name("output", n),
            ..one.clone()
        })
        .collect();
    run
}

#[test]
fn a_large_result_takes_several_parts() {
    let mut w = World::new();
    w.node("a");
    w.node("b");
    let bound =
        |n: usize| json!({"metric": format!("{:-<64}", format!("metric-{n:02}")), "at_least": "0"});
    let bounds: Vec<Value> = (0..16).map(bound).collect();
    let mut terms = sampled();
    let checks = json!({"method": "check", "bounds": bounds});
    let methods = terms["verification"].as_array_mut().unwrap();
    methods.extend([checks.clone(), checks]);
    let task = w.task(terms);
    let leases = w.plan();
    for (_, assignment, _) in &leases {
        w.start(*assignment);
        let run = large(&w, *assignment);
        w.commit(&run);
    }
    for (_, assignment, _) in &leases {
        let run = large(&w, *assignment);
        w.reveal(&run);
    }
    let mut parts = 0;
    for recorded in &w.log {
        let entry = Entry::encode(recorded).unwrap();
        assert!(entry.0.len() <= 65_535);
        parts += usize::from(matches!(recorded.event, Event::AssignmentShown(_)));
    }
    assert_eq!((w.phase(task), parts), ("settled", 2));
    w.check_replay();
    documents_agree(&w, "closed-large");
}

#[test]
fn whoever_does_not_reveal_is_refused_and_what_was_shown_is_opened_in_time() {
    let mut w = World::new();
    let (task, _) = disagreed(&mut w);
    let (_, assignment, silent) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({"cat": 0}), &[]);
    w.commit(&run);
    w.later(i64::from(w.state.policy().unwrap().1.reveal_ms));
    let events = w.ok(Command::Tick);
    let told: Vec<_> = labels(&events).into_iter().take(3).collect();
    assert_eq!(
        told,
        [
            "assignment.revealed",
            "assignment.revealed",
            "task.verified"
        ]
    );
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!(verdict.verdict, Verdict::Inconclusive);
    assert_eq!(verdict.refused.len(), 1);
    assert_eq!(w.node_on(verdict.refused[0].assignment), silent);
    w.check_replay();
    documents_agree(&w, "closed-silent");
}

#[test]
fn what_a_leader_with_another_secret_can_not_open_costs_nobody_anything() {
    let mut w = World::new();
    let (task, runs) = disagreed(&mut w);
    let first: Vec<NodeId> = runs.iter().map(|run| run.report.node).collect();
    let before: Vec<i64> = first.iter().map(|n| w.available(w.owner(*n))).collect();
    w.secret = [8; 32];
    // Nothing is drawn in an epoch whose secret is lost; a tick opens another one.
    w.ok(Command::Tick);
    let (_, events) = decided(&mut w);
    assert_eq!(
        labels(&events)[..3],
        [
            "assignment.revealed",
            "assignment.withdrawn",
            "assignment.withdrawn"
        ]
    );
    assert_eq!(w.phase(task), "inconclusive");
    for (node, before) in first.iter().zip(before) {
        assert_eq!(
            w.available(w.owner(*node)),
            before + 1_000,
            "the attempt fee"
        );
        assert_eq!(w.outcomes(*node).1, 0);
    }
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!((counts.reveals_lost, counts.reveals_closed), (2, 0));
    w.check_replay();
    documents_agree(&w, "closed-lost");
}

#[test]
fn a_cancelled_sample_stays_closed() {
    let mut w = World::new();
    let (task, runs) = disagreed(&mut w);
    let requester = w.requester;
    w.ok(Command::CancelTask { requester, task });
    assert!(runs.iter().all(|run| !tells(&told(&w, task), run)));
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!(counts.reveals_closed, 2);
    w.check_replay();
    documents_agree(&w, "closed-cancelled");
}

/// The log of a sample that agreed at once, changed.
fn agreed() -> World {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let task = w.task(sampled());
    w.finish(task, |_| json!({"cat": 0}));
    assert_eq!(w.phase(task), "settled");
    w
}

#[test]
fn an_audit_finds_what_is_opened_otherwise_than_it_was_shown() {
    let mut log = agreed().log;
    let at = log
        .iter()
        .rposition(|r| matches!(r.event, Event::AssignmentRevealed(_)))
        .unwrap();
    let Event::AssignmentRevealed(revealed) = &mut log[at].event else {
        unreachable!()
    };
    revealed.published = None;
    let fault = recompute(&log).unwrap_err();
    assert_eq!(fault.position as usize, at, "{fault}");

    // With a key that does not open it nobody can tell that the two agree: a third replica would have been drawn, and nothing opened.
    let mut log = agreed().log;
    let Event::AssignmentRevealed(revealed) = &mut log[at].event else {
        unreachable!()
    };
    revealed.key = Some(aevir_platform::hexbytes::Hex([9; 32]));
    let first = log
        .iter()
        .position(|r| matches!(r.event, Event::AssignmentRevealed(_)));
    let fault = recompute(&log).unwrap_err();
    assert_eq!(fault.position as usize, first.unwrap(), "{fault}");
}

/// Two nodes have sealed the same.
fn sealed_alike() -> (World, Vec<Run>) {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    w.task(sampled());
    let leases = w.plan();
    let mut runs = Vec::new();
    for (_, assignment, _) in &leases {
        w.start(*assignment);
        let run = w.run(*assignment, json!({"cat": 0}), &[]);
        w.commit(&run);
        runs.push(run);
    }
    (w, runs)
}

#[test]
fn an_audit_finds_a_replica_that_was_drawn_though_the_others_agreed() {
    // What the second node shows, closed, as it would be if it came first.
    let (mut twin, runs) = sealed_alike();
    let mut events = twin.reveal(&runs[1]);
    let (mut w, runs) = sealed_alike();
    w.reveal(&runs[0]);
    // A leader who pretends that they disagree.
    let (task, round, replicas) = (runs[1].report.task, 2, 3);
    events.push(
        TaskExtended {
            task,
            round,
            replicas,
        }
        .into(),
    );
    let context = w.next_context(format!("node/{}", runs[1].report.node));
    w.record(&events, &context);
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!(counts.reveals_closed, 2, "it can't be told yet");
    decided(&mut w);
    let fault = recompute(&w.log).unwrap_err();
    assert!(fault.to_string().contains("round 1"), "{fault}");
    let verified = w
        .log
        .iter()
        .position(|r| matches!(r.event, Event::TaskVerified(_)));
    assert_eq!(fault.position as usize, verified.unwrap());
}

#[test]
fn reveals_are_closed_by_default_and_in_a_private_market_too() {
    for policy in [Policy::default(), Policy::private()] {
        assert_eq!(policy.verification.reveals, Reveals::Closed);
    }
}
