//! Commit, reveal and the verdict.

use aevir_events::Event as _;
use aevir_platform::{
    command::Command,
    event::{Event, RefusalReason, Verdict},
    hexbytes::Hex,
    report::SignedCommitment,
};
use serde_json::json;

use crate::{
    sample::documents_agree,
    world::{AT_ONCE_MS, World, labels, reveal_command},
};

fn three_nodes() -> World {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    w
}

/// A sample whose replicas are all there at once.
fn sampling(quorum: u32, replicas: u32, initial: u32) -> serde_json::Value {
    let method =
        json!({"method": "sampling", "quorum": quorum, "replicas": replicas, "initial": initial});
    json!({"verification": [method], "qos": {"max_latency_ms": AT_ONCE_MS}})
}

#[test]
fn the_minority_is_refused_unpaid_and_loses_points() {
    let mut w = three_nodes();
    let earlier = w.task(sampling(2, 3, 3));
    w.finish(earlier, |_| json!({"n": 0}));
    let task = w.task(sampling(2, 3, 3));
    let cheat = w.plan()[1].2;
    let (paid, points) = (
        w.available(w.owner(cheat)),
        w.compute_points(w.owner(cheat)),
    );
    assert!(points > 0);
    w.finish(task, |node| json!({"n": i32::from(node == cheat)}));
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!(
        (verdict.verdict, verdict.accepted.len()),
        (Verdict::Passed, 2)
    );
    assert_eq!(verdict.refused.len(), 1);
    assert_eq!(verdict.refused[0].reason, RefusalReason::Mismatch);
    assert_eq!(w.node_on(verdict.refused[0].assignment), cheat);
    assert_eq!(w.available(w.owner(cheat)), paid);
    assert_eq!(
        w.compute_points(w.owner(cheat)),
        points - 50.max(points / 2).min(points)
    );
    w.check_replay();
}

#[test]
fn a_further_replica_runs_only_on_disagreement() {
    let mut w = three_nodes();
    let task = w.task(sampling(2, 3, 2));
    let leases = w.plan();
    assert_eq!(leases.len(), 2);
    let cheat = leases[0].2;
    let answer = |node| json!({"n": i32::from(node == cheat)});
    for (_, assignment, node) in &leases {
        w.start(*assignment);
        let run = w.run(*assignment, answer(*node), &[]);
        w.commit(&run);
    }
    w.reveal_all(task, answer);
    assert_eq!((w.phase(task), w.state.tasks[&task].round), ("running", 2));
    w.finish(task, answer);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(
        w.state.tasks[&task]
            .verdict
            .as_ref()
            .unwrap()
            .accepted
            .len(),
        2
    );

    let agreed = w.task(sampling(2, 3, 2));
    w.later(60_000);
    w.finish(agreed, |_| json!({"n": 0}));
    assert_eq!(w.state.tasks[&agreed].assignments.len(), 2);
    w.check_replay();
}

#[test]
fn nodes_that_never_agree_get_the_attempt_fee_and_no_blame() {
    let mut w = three_nodes();
    let before = w.available(w.requester);
    let task = w.task(sampling(2, 3, 3));
    w.finish(task, |node| json!({"n": node.to_string()}));
    assert_eq!(w.phase(task), "inconclusive");
    assert_eq!(w.available(w.requester), before - 3_000);
    assert!(!w.state.tasks[&task].result_is_open());
    assert!(w.state.nodes.values().all(|n| w.outcomes(n.id).1 == 0));
    w.check_replay();
}

#[test]
fn who_does_not_reveal_counts_as_wrong() {
    let mut w = three_nodes();
    let task = w.task(sampling(2, 3, 3));
    let leases = w.plan();
    let silent = leases[2].2;
    let mut runs = Vec::new();
    for (_, assignment, _) in &leases {
        w.start(*assignment);
        let run = w.run(*assignment, json!({}), &[]);
        assert_eq!(w.refused(reveal_command(&run)), "reveal-too-early");
        w.commit(&run);
        runs.push(run);
    }
    w.reveal(&runs[0]);
    w.reveal(&runs[1]);
    assert_eq!(
        w.phase(task),
        "verifying",
        "the third has time until the reveals are due"
    );
    w.later(30_000);
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "settled");
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!(verdict.refused[0].reason, RefusalReason::NotRevealed);
    assert_eq!(w.node_on(verdict.refused[0].assignment), silent);
    assert_eq!(w.refused(reveal_command(&runs[2])), "lease-ended");
    w.check_replay();
}

#[test]
fn a_commitment_stands_and_binds() {
    let mut w = three_nodes();
    let task = w.task(sampling(2, 3, 2));
    let leases = w.plan();
    let (honest, thief) = (leases[0], leases[1]);
    w.start(honest.1);
    let run = w.run(honest.1, json!({"n": 1}), &[]);
    assert_eq!(labels(&w.commit(&run)), ["assignment.committed"]);
    assert_eq!(w.commit(&run), [], "the same again changes nothing");
    let other = w.run(honest.1, json!({"n": 2}), &[]);
    assert_eq!(w.refused(w.commit_command(&other)), "round-closed");

    // Another node copies the commitment, under its own signature: it can't open it.
    w.start(thief.1);
    let mut copy = w.run(thief.1, json!({"n": 1}), &[]);
    let own = w.commitment(&copy);
    assert_ne!(own.commitment(), run.report.commitment());
    w.commit(&copy);
    assert_eq!(w.phase(task), "verifying");
    copy.report.usage.fuel.0 += 1;
    assert_eq!(w.refused(reveal_command(&copy)), "reveal-mismatch");
    let mut forged = w.run(honest.1, json!({"n": 1}), &[]);
    forged.result = json!({"n": 9});
    assert_eq!(w.refused(reveal_command(&forged)), "reveal-mismatch");
    forged.report.node = thief.2;
    assert_eq!(w.refused(reveal_command(&forged)), "unknown-assignment");
}

#[test]
fn a_signature_must_fit_key_and_commitment() {
    let mut w = three_nodes();
    let task = w.task(sampling(2, 3, 2));
    let leases = w.plan();
    let (mine, theirs) = (leases[0].1, leases[1].1);
    w.start(mine);
    w.start(theirs);
    let run = w.run(mine, json!({}), &[]);
    let good = w.commitment(&run);
    let mut signature = good.signature();
    signature.0[7] ^= 1;
    assert!(SignedCommitment::check(good.key(), good.commitment(), signature).is_err());
    assert!(SignedCommitment::check(Hex([0; 32]), good.commitment(), good.signature()).is_err());
    let foreign = w.commitment(&w.run(theirs, json!({}), &[]));
    let node = w.node_on(mine);
    assert_eq!(
        w.refused(Command::Commit {
            node,
            assignment: mine,
            commitment: foreign,
            absent_ms: aevir_platform::amount::Count(0),
        }),
        "wrong-node-key"
    );
    assert_eq!(w.phase(task), "running");
}

#[test]
fn a_bound_that_is_not_met_pays_the_compute_and_opens_the_result() {
    for (accuracy, phase) in [
        ("0.96", "settled"),
        ("0.95", "settled"),
        ("0.949999", "unmet"),
    ] {
        let mut w = World::new();
        let node = w.node("a");
        let check =
            json!({"method": "check", "bounds": [{"metric": "accuracy", "at_least": "0.95"}]});
        let task = w.task(json!({"verification": [check]}));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[("accuracy", accuracy)]);
        w.commit(&run);
        w.reveal(&run);
        assert_eq!(w.phase(task), phase, "{accuracy}");
        assert_eq!(w.available(w.owner(node)), 1_000_000);
        assert!(w.state.tasks[&task].result_is_open());
    }
}

#[test]
fn a_schema_checks_the_inline_result() {
    let schema = json!({"type": "object", "required": ["label"], "properties": {"label": {"type": "integer"}}});
    for (result, phase) in [
        (json!({"label": 3}), "settled"),
        (json!({"label": "3"}), "unmet"),
        (json!([]), "unmet"),
    ] {
        let mut w = World::new();
        w.node("a");
        let task = w.task(json!({"verification": [{"method": "check", "schema": schema}]}));
        w.finish(task, |_| result.clone());
        assert_eq!(w.phase(task), phase, "{result}");
    }
}

#[test]
fn the_log_shows_of_a_result_what_the_requester_allows() {
    let result = json!({"label": 3, "secret": "s"});
    for (publish, shown) in [
        (json!("digest"), None),
        (json!("full"), Some(result.clone())),
        (
            json!({"pointers": ["/label", "/absent"]}),
            Some(json!({"/label": 3})),
        ),
    ] {
        let mut w = World::new();
        w.node("a");
        let task = w.task(json!({"privacy": {"publish": publish}}));
        w.finish(task, |_| result.clone());
        assert_eq!(
            w.state.tasks[&task].verdict.as_ref().unwrap().published,
            shown
        );
        let leaked = w
            .log
            .iter()
            .any(|r| r.event.to_data().to_string().contains("\"secret\""));
        assert_eq!(leaked, shown == Some(result.clone()));
    }
}

#[test]
fn training_registers_the_model_with_its_lineage() {
    let mut w = World::new();
    let node = w.node("a");
    let dataset = crate::market::dataset(&mut w, "digits", 1);
    let prepare = w
        .task(json!({"data": [{"name": "raw", "from": {"content": {"id": dataset.to_string()}}}]}));
    w.finish(prepare, |_| json!({}));
    let target = json!({"name": "mlp", "version": "1", "outputs": ["out"], "licence": "CC-BY-4.0"});
    let training = json!({
        "type": "training", "model": {"target": target},
        "depends_on": [{"task": prepare.to_string(), "output": "out"}],
    });
    let task = w.task(training.clone());
    w.finish(task, |_| json!({"loss": 1}));
    let model = w.state.tasks[&task].model.unwrap();
    let content = &w.state.contents[&model];
    let lineage = content.lineage.clone().unwrap();
    assert_eq!(
        (lineage.task, lineage.contents, lineage.nodes),
        (task, vec![dataset], vec![node])
    );
    assert_eq!(content.files[0].name, "out");
    assert_eq!(w.refused(w.submission(training)), "content-exists");

    let use_it = w.task(json!({"type": "inference", "model": {"base": model.to_string()}}));
    assert_eq!(w.state.tasks[&use_it].inputs[0].name, "out");
    w.check_replay();
}

#[test]
fn a_model_without_its_files_is_an_unmet_task() {
    let mut w = World::new();
    w.node("a");
    let target = json!({"name": "mlp", "version": "1", "outputs": ["weights"], "licence": "MIT"});
    let task = w.task(json!({"type": "training", "model": {"target": target}}));
    w.finish(task, |_| json!({}));
    assert_eq!((w.phase(task), w.state.tasks[&task].model), ("unmet", None));
}

#[test]
fn lateness_is_recorded_and_harms_the_node() {
    let mut w = World::new();
    let node = w.node("a");
    w.task(json!({"qos": {"max_latency_ms": 11_000}, "limits": {"runtime_s": 5}}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    w.later(12_000);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    let events = w.reveal(&run);
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::TaskVerified(v) if v.late))
    );
    assert_eq!(w.outcomes(node), (0, 1_000));
}

#[test]
fn a_report_that_readers_could_not_read_back_is_refused() {
    let mut w = World::new();
    w.node("a");
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    let task = w.task(json!({}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, deep, &[]);
    w.commit(&run);
    assert_eq!(w.refused(reveal_command(&run)), "report-invalid");
    assert_eq!(w.phase(task), "verifying");
}

#[test]
fn a_node_can_name_only_what_it_brought() {
    let mut w = World::new();
    let node = w.node("a");
    let first = w.task(json!({}));
    w.finish(first, |_| json!({"n": 1}));
    w.task(json!({}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let mut run = w.run(assignment, json!({"n": 1}), &[]);
    // Bytes of an earlier task, whose digest stands in the log.
    run.report.outputs[0].name = "stolen".into();
    let command = w.commit_command(&run);
    w.ok(command);
    assert_eq!(w.refused(reveal_command(&run)), "output-not-uploaded");
    let mut blob = aevir_platform::report::BlobRef {
        digest: run.report.outputs[0].digest,
        size: run.report.outputs[0].size,
    };
    blob.size.0 += 1;
    let record = |blob| Command::RecordOutput {
        node,
        assignment,
        blob,
    };
    assert_eq!(w.refused(record(blob)), "blob-size-mismatch");
    blob.size.0 -= 1;
    w.ok(record(blob));
    assert_eq!(w.ok(record(blob)), []);
    w.reveal(&run);
}

/// The largest report and verdict that the rules allow fit an entry of the log.
#[test]
fn the_largest_reveal_fits_the_log() {
    let pointers: Vec<String> = (0..16).map(|_| "/text".to_owned()).collect();
    let bound = |i: usize| json!({"metric": format!("{i:0>64}"), "at_least": "-1000000", "at_most": "1000000.000001"});
    let bounds = |from: usize| -> Vec<_> { (from..from + 16).map(bound).collect() };
    let schema = json!({"type": "object", "properties": {"k".repeat(7_000): false}});
    for publish in [json!("full"), json!({"pointers": pointers})] {
        let mut w = World::new();
        w.node("a");
        let task = w.task(json!({
            "privacy": {"publish": publish},
            "verification": [
                {"method": "check", "bounds": bounds(0)},
                {"method": "check", "bounds": bounds(16)[..15], "schema": schema},
            ],
        }));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let result = json!({"text": "\u{1}".repeat(3_400), "k".repeat(7_000): 1});
        let mut run = w.run(assignment, result, &[]);
        let huge = aevir_platform::amount::Count(u64::MAX);
        run.report.outputs = (0..64_u8)
            .map(|i| aevir_platform::report::Artifact {
                name: format!("{i:0>64}"),
                digest: aevir_platform::digest::Digest::of(&[i]),
                size: huge,
            })
            .collect();
        run.report.metrics = (0..64_u8)
            .map(|i| aevir_platform::report::MetricValue {
                name: format!("{i:0>64}"),
                step: huge,
                value: aevir_platform::amount::MicroUnits(i64::MIN),
            })
            .collect();
        w.commit(&run);
        w.reveal(&run);
        assert_eq!(w.phase(task), "unmet");
        for recorded in &w.log {
            let entry = aevir_events::Entry::encode(recorded);
            assert!(entry.is_ok(), "{}: {entry:?}", recorded.event.label());
        }
    }
}

/// A result's digest is of its canonical form, and so is what is decided on it: how its node wrote a number shows nowhere.
#[test]
fn a_verdict_does_not_go_by_how_a_node_writes_a_number() {
    let check = json!({"method": "check", "schema": {"items": {"multipleOf": 7.0}}});
    let terms = json!({"privacy": {"publish": "full"}, "verification": [check]});
    for written in [json!(7), json!(7.0), json!(0.7e1)] {
        let mut w = World::new();
        w.node("a");
        let task = w.task(terms.clone());
        w.finish(task, |_| vec![written.clone(); 6_000].into());
        assert_eq!(w.phase(task), "settled", "{written}");
        let shown = w.log.iter().find_map(|recorded| match &recorded.event {
            Event::AssignmentRevealed(e) => e.published.clone(),
            _ => None,
        });
        assert_eq!(shown.unwrap()[0].as_u64(), Some(7));
        documents_agree(&w, "written");
    }
}
