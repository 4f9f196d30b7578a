//! The JSON Schemas of the events: generated from the types, checked in, and true of what is written.
//!
//! `AEVIR_BLESS=1` (or `cargo xtask schemas`) writes them anew; a released version must never change.

use std::{collections::BTreeMap, fs, path::PathBuf};

use aevir_events::Event as _;
use aevir_platform::schemas::EventSchema;
use serde_json::{Value, json};

use crate::world::World;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/events"))
}

#[test]
fn the_checked_in_schemas_are_those_of_the_types() {
    let bless = std::env::var_os("AEVIR_BLESS").is_some();
    for (label, version, schema) in aevir_platform::event::schemas() {
        let name = format!("{label}.v{version}.json");
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = folder().join(&name);
        let mut there = fs::read_to_string(&path).unwrap_or_default();
        if bless && there != text {
            // In one step, for the other test reads the same files.
            let partial = path.with_extension("tmp");
            fs::write(&partial, &text).unwrap();
            fs::rename(&partial, &path).unwrap();
            there.clone_from(&text);
        }
        assert_eq!(
            there, text,
            "{name} differs from its type: make a new version, or run `cargo xtask schemas`"
        );
    }
    let current: BTreeMap<&str, u16> = aevir_platform::event::schemas()
        .into_iter()
        .map(|(label, version, _)| (label, version))
        .collect();
    for EventSchema { label, version, .. } in aevir_platform::schemas::all() {
        assert!(
            current.get(label).is_some_and(|current| version <= current),
            "schemas/events/{label}.v{version}.json belongs to no event type"
        );
    }
}

#[test]
fn what_is_written_satisfies_its_schema() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let content = crate::market::dataset(&mut w, "set", 1).to_string();
    let task = w.task(json!({
        "data": [{"name": "a", "from": {"content": {"id": content}}}, {"name": "b", "from": {"inline": "text"}}],
        "qos": {"gpu": {}, "max_latency_ms": 1_000, "deadline": "2030-01-01T00:00:00.000Z"},
        "verification": [
            {"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3},
            {"method": "check", "schema": {"type": "object"}, "bounds": [{"metric": "m", "at_most": "1"}]},
        ],
        "privacy": {"publish": "full"},
    }));
    let cheat = w.plan()[0].2;
    w.finish(task, |node| json!({"n": i32::from(node == cheat)}));
    let mut seen = 0;
    for recorded in &w.log {
        let event = &recorded.event;
        let path = folder().join(format!("{}.v{}.json", event.label(), event.schema()));
        let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&event.to_data())
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", event.label());
        seen += 1;
    }
    assert!(seen > 30);
}
