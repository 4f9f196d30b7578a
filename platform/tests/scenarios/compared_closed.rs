//! What is compared stays closed: a comparison brings its word alone, and an audit finds one that was not called for.

use aevir_platform::{
    amount::Count, command::Command, digest::Digest, event::Event, ids::TaskId, report::BlobRef,
};
use serde_json::json;

use crate::{
    comparing::{Play, compared},
    verifiers::world,
    world::{Run, World, recompute, reveal_command},
};

/// A comparison says yes or no.
#[test]
fn a_comparison_brings_nothing_but_its_word() {
    let (mut w, _) = world(5);
    let terms = compared(&mut w, 2, 2);
    let task = w.task(terms);
    let play = Play::new(task, &[7, 8]);
    play.round(&mut w);
    let (_, assignment, node) = w.plan()[0];
    w.start(assignment);
    let told = w.ok(Command::ReportProgress {
        node,
        assignment,
        ppm: 7,
        note: "it is 7".into(),
    });
    assert!(told.is_empty());
    let blob = BlobRef {
        digest: Digest::of(b"7"),
        size: Count(1),
    };
    let save = Command::SaveCheckpoint {
        node,
        assignment,
        checkpoint: blob,
    };
    assert_eq!(w.refused(save), "checkpoint-invalid");
    let run = w.run(assignment, json!(true), &[("seven", "7")]);
    w.commit(&run);
    let (_, second, _) = w.plan()[0];
    w.start(second);
    let word = w.run(second, json!(true), &[]);
    w.commit(&word);
    let reveal = reveal_command(&run);
    assert_eq!(w.refused(reveal), "report-invalid");
    w.check_replay();
}

/// Two nodes have sealed the same, in a world that is the same each time.
fn sealed_alike() -> (World, TaskId, Vec<Run>) {
    let (mut w, _) = world(5);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let mut sealed = Vec::new();
    while w.phase(task) != "verifying" {
        w.later(1);
        let (_, run, _) = w.plan()[0];
        w.start(run);
        let run = w.run(run, json!(7), &[]);
        w.commit(&run);
        sealed.push(run);
    }
    (w, task, sealed)
}

/// A leader who has results compared that are equal can't be told from one who has not, until they are opened.
#[test]
fn an_audit_finds_a_comparison_that_was_not_called_for() {
    // What follows where they differ.
    let (mut twin, _) = world(5);
    let terms = compared(&mut twin, 2, 3);
    let task = twin.task(terms);
    let differing = Play::new(task, &[7, 8]).round(&mut twin);
    // What the second node shows, closed, as it would be if it came first.
    let (mut twin, _, sealed) = sealed_alike();
    let mut events: Vec<Event> = twin.reveal(&sealed[1]);
    events.extend(differing[1..].iter().cloned());
    // All of it written where they do not differ.
    let (mut w, same, sealed) = sealed_alike();
    assert_eq!(same, task);
    w.reveal(&sealed[0]);
    let context = w.next_context(format!("node/{}", sealed[1].report.node));
    w.record(&events, &context);
    let look = w.state.tasks[&task].inspections[0].by;
    w.finish(look, |_| json!(true));
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!(counts.reveals_closed, 2, "it can't be told yet");
    w.ok(Command::Tick);
    let fault = recompute(&w.log).unwrap_err();
    assert!(fault.to_string().contains("round 1"), "{fault}");
}
