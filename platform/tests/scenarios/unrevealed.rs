//! Without a sample the first result that is shown counts: what is only sealed stops nobody, and what is not shown is a lost attempt.

use aevir_platform::{
    command::{Command, LossReason},
    event::Event,
    ids::{AssignmentId, NodeId, TaskId},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, labels, recompute},
};

const ATTEMPT_FEE: i64 = 1_000;
const REVEAL_MS: i64 = 30_000;

/// A run, and its duplicate on another node; both have begun.
fn doubled(w: &mut World, overrides: Value) -> (TaskId, [AssignmentId; 2]) {
    w.node("first");
    let mut terms = json!({"qos": {"max_latency_ms": 10_000}});
    for (field, value) in overrides.as_object().unwrap() {
        terms[field] = value.clone();
    }
    let task = w.task(terms);
    let run = w.plan()[0].1;
    w.start(run);
    w.node("second");
    w.later(5_000);
    let duplicate = w.plan()[0].1;
    w.start(duplicate);
    (task, [run, duplicate])
}

fn seal(w: &mut World, assignment: AssignmentId) -> Vec<Event> {
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run)
}

fn balance(w: &World, node: NodeId) -> i64 {
    w.available(w.owner(node))
}

#[test]
fn a_duplicate_that_seals_and_never_shows_stops_nobody() {
    let mut w = World::new();
    // So that there are points to lose.
    let evil = w.node("evil");
    for _ in 0..3 {
        let earns = w.task(json!({}));
        w.finish(earns, |_| json!({}));
    }
    let points = w.compute_points(w.owner(evil));
    let away = |w: &mut World, availability| {
        w.ok(Command::SetAvailability {
            node: evil,
            availability,
        });
    };
    away(&mut w, aevir_platform::command::Availability::Offline);
    let honest = w.node("honest");
    let task = w.task(json!({"qos": {"max_latency_ms": 10_000}}));
    let run = w.plan()[0].1;
    w.start(run);
    away(&mut w, aevir_platform::command::Availability::Online);
    w.later(5_000);
    let duplicate = w.plan()[0].1;
    assert_eq!(w.node_on(duplicate), evil);
    w.start(duplicate);
    assert_eq!(
        labels(&seal(&mut w, duplicate)),
        ["assignment.committed", "task.round_closed"]
    );
    assert_eq!(w.node_on(run), honest);
    w.progress(run, 950_000);
    assert!(w.plan().is_empty());
    w.later(REVEAL_MS);
    assert_eq!(w.state.next_due(), Some(w.now));
    let events = w.ok(Command::Tick);
    assert_eq!(labels(&events), ["assignment.lost", "points.changed"]);
    assert_eq!(w.phase(task), "running");
    assert_eq!(w.state.tasks[&task].attempts_spent, 1);
    let bad = w.outcomes(evil).1;
    assert_eq!(
        (bad, w.compute_points(w.owner(evil))),
        (1_000, points - 50.max(points / 2))
    );
    let before = balance(&w, honest);
    seal(&mut w, run);
    w.reveal_all(task, |_| json!({}));
    assert_eq!(
        (w.phase(task), balance(&w, honest) - before),
        ("settled", 1_000_000)
    );
    w.check_replay();
    documents_agree(&w, "unrevealed-double");
}

#[test]
fn of_two_sealed_results_the_first_one_shown_counts() {
    for shown in [0, 1] {
        let mut w = World::new();
        let (task, runs) = doubled(&mut w, json!({}));
        seal(&mut w, runs[0]);
        w.later(1_000);
        // The second one has its time to be shown, too.
        assert_eq!(
            labels(&seal(&mut w, runs[1])),
            ["assignment.committed", "task.round_closed"]
        );
        w.later(REVEAL_MS - 1);
        w.ok(Command::Tick);
        let run = w.run(runs[shown], json!({}), &[]);
        let events = w.reveal(&run);
        assert_eq!(
            labels(&events)[..3],
            [
                "assignment.revealed",
                "assignment.withdrawn",
                "task.verified"
            ]
        );
        let paid = [shown, 1 - shown].map(|n| balance(&w, w.node_on(runs[n])));
        assert_eq!(paid, [1_000_000, ATTEMPT_FEE]);
        assert!(w.state.nodes.values().all(|node| node.sealed.is_empty()));
        assert_eq!(w.phase(task), "settled");
        w.check_replay();
        documents_agree(&w, "unrevealed-both");
    }
}

#[test]
fn a_result_that_meets_the_terms_is_waited_for() {
    let check = json!({"verification": [{"method": "check", "bounds": [{"metric": "m", "at_least": "1"}]}]});
    for ends_well in [true, false] {
        let mut w = World::new();
        let (task, runs) = doubled(&mut w, check.clone());
        let bad = w.run(runs[1], json!({}), &[("m", "0")]);
        w.commit(&bad);
        assert_eq!(labels(&w.reveal(&bad)), ["assignment.revealed"]);
        if ends_well {
            let good = w.run(runs[0], json!({}), &[("m", "1")]);
            w.commit(&good);
            w.reveal(&good);
        } else {
            w.later(REVEAL_MS);
            let events = w.ok(Command::Tick);
            assert_eq!(
                labels(&events)[..2],
                ["assignment.withdrawn", "task.verified"]
            );
        }
        let phase = if ends_well { "settled" } else { "unmet" };
        assert_eq!(w.phase(task), phase);
        let paid = runs.map(|run| balance(&w, w.node_on(run)));
        let expected = if ends_well {
            [1_000_000, ATTEMPT_FEE]
        } else {
            [ATTEMPT_FEE, 1_000_000]
        };
        assert_eq!(paid, expected);
        w.check_replay();
        documents_agree(&w, "unrevealed-unmet");
    }
}

#[test]
fn a_task_goes_on_until_its_attempts_are_spent() {
    let mut w = World::new();
    for name in ["a", "b", "c", "d"] {
        w.node(name);
    }
    let task = w.task(json!({}));
    for spent in 1..=3 {
        let (_, run, node) = w.plan()[0];
        w.start(run);
        seal(&mut w, run);
        w.later(REVEAL_MS);
        w.ok(Command::Tick);
        assert_eq!(w.state.tasks[&task].attempts_spent, spent);
        assert_eq!(w.phase(task), if spent < 3 { "queued" } else { "failed" });
        let sealed = w.run(run, json!({}), &[]);
        assert_eq!(
            w.refused(crate::world::reveal_command(&sealed)),
            "lease-ended"
        );
        assert_eq!(balance(&w, node), 0);
        w.later(600_000);
    }
    assert_eq!(w.available(w.requester), 1_000_000_000, "nothing was shown");
    w.check_replay();
    documents_agree(&w, "unrevealed-thrice");
}

#[test]
fn only_the_end_of_the_time_to_reveal_says_that_it_was_missed() {
    let mut w = World::new();
    w.node("a");
    w.task(json!({}));
    let run = w.plan()[0].1;
    let reason = LossReason::NotRevealed;
    assert_eq!(
        w.refused(Command::LoseLease {
            assignment: run,
            reason
        }),
        "lease-ended"
    );
    w.start(run);
    seal(&mut w, run);
    w.later(REVEAL_MS);
    w.ok(Command::Tick);
    recompute(&w.log).unwrap();
    let mut log = w.log.clone();
    let last = log.last_mut().unwrap();
    last.time = last.time.plus_ms(-1);
    assert!(recompute(&log).is_err(), "a millisecond too early");
}
