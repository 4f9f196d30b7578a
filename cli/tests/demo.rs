//! The demo keeps its promises: the same run that a newcomer sees, on SwiftShader where there is no GPU.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The bound on two cores, with everything built.
const TIME_MAX: Duration = Duration::from_secs(180);

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_demo_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("demo");
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_aevir"))
        .args(["demo", "--json", "--keep"])
        .arg(&kept)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        started.elapsed() < TIME_MAX,
        "it took {:?}:\n{said}",
        started.elapsed()
    );

    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        "tasks",
        "accuracy",
        "cheater",
        "killed",
        "ledger",
        "points",
        "log",
        "adapter",
        "duration_ms",
    ];
    assert_eq!(keys(&document), BTreeSet::from(expected));
    let tasks = document["tasks"].as_array().unwrap();
    let kinds: Vec<_> = tasks.iter().map(|t| t["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["data-processing", "training", "evaluation", "inference"]
    );
    for task in tasks {
        let expected = [
            "id",
            "type",
            "state",
            "nodes",
            "refused_nodes",
            "fee",
            "duration_ms",
        ];
        assert_eq!(keys(task), BTreeSet::from(expected));
        assert_eq!(task["state"], "settled");
        assert!(task["nodes"].as_array().unwrap().len() >= 2, "{task}");
    }
    assert!(document["accuracy"].as_f64().unwrap() >= 0.95);

    let cheater = &document["cheater"];
    assert_eq!(cheater["caught"], true);
    assert!(
        cheater["points_after"].as_i64() < cheater["points_before"].as_i64(),
        "{cheater}"
    );
    assert_eq!(tasks[2]["refused_nodes"], json!([cheater["node"]]));

    let killed = &document["killed"];
    assert_eq!(killed["task"], tasks[1]["id"]);
    let finishers = tasks[1]["nodes"].as_array().unwrap();
    assert!(finishers.contains(&killed["finished_on"]) && !finishers.contains(&killed["node"]));
    let evaluators = tasks[2]["nodes"].as_array().unwrap();
    assert!(
        evaluators.contains(&killed["node"]),
        "the killed node rejoined"
    );

    assert_eq!(document["ledger"]["sum"], "0");
    assert_eq!(document["log"]["replay_equal"], true);
    let events = document["log"]["events"].as_u64().unwrap();
    let export = kept.join("log.ndjson");
    let exported = std::fs::read_to_string(&export).unwrap();
    assert_eq!(exported.lines().count() as u64, events);

    // An independent program, written from the documents, agrees to the unit.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit/recompute.py");
    let recomputed = Command::new("python3")
        .args([script, "--json"])
        .arg(&export)
        .output()
        .expect("python3 is needed for this test: `cargo xtask setup test` installs it");
    let recomputed: Value = serde_json::from_slice(&recomputed.stdout).unwrap();
    assert_eq!(recomputed["error"], Value::Null);
    assert_eq!(recomputed["accounts"], document["ledger"]["accounts"]);
    assert_eq!(recomputed["root"], document["log"]["root"]);
    for (account, points) in recomputed["points"].as_object().unwrap() {
        for track in ["compute", "content", "verification"] {
            let here = document["points"][account][track].to_string();
            assert_eq!(points[track], here.as_str(), "{track} points of {account}");
        }
    }
}
