//! The golden corpus: one entry of every event version ever written, byte for byte, and the lock on what is released.
//!
//! `AEVIR_BLESS=1` (or `cargo xtask schemas`) adds what is missing and never changes what is there. `AEVIR_RELEASE=1`
//! (or `cargo xtask schemas --release`) locks it: from then on a change of a file fails the tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use aevir_events::{Entry, Event as _, Recorded};
use aevir_platform::{digest::Digest, event::Event, schemas::EventSchema};

use crate::sample::eventful;

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas");
/// The folders under `schemas/` whose files are locked once they are released.
const LOCKED: [&str; 2] = ["events", "golden"];

fn golden(label: &str, version: u16) -> PathBuf {
    Path::new(SCHEMAS).join(format!("golden/{label}.v{version}.json"))
}

fn asked(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// Writes the first entry of each type in a log with an end of every kind, as far as the corpus lacks it.
fn add_missing() {
    for recorded in &eventful().log {
        let path = golden(recorded.event.label(), recorded.event.schema());
        if !path.exists() {
            let mut bytes = Entry::encode(recorded).unwrap().0;
            bytes.push(b'\n');
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

fn read(schema: &EventSchema) -> Entry {
    let path = golden(schema.label, schema.version);
    let mut bytes = fs::read(&path).unwrap_or_else(|e| {
        panic!(
            "{}: {e}: every version has a golden entry; let `eventful` bring one and run `cargo xtask schemas`",
            path.display()
        )
    });
    assert_eq!(bytes.pop(), Some(b'\n'), "{}", path.display());
    Entry(bytes)
}

#[test]
fn every_version_ever_written_can_be_read() {
    if asked("AEVIR_BLESS") {
        add_missing();
    }
    let mut names = BTreeSet::new();
    for schema in aevir_platform::schemas::all() {
        let EventSchema {
            label,
            version,
            text,
        } = schema;
        let entry = read(schema);
        names.insert(format!("{label}.v{version}.json"));
        let envelope = entry.canonical_envelope().unwrap();
        assert_eq!(
            (envelope.label.as_str(), envelope.schema),
            (*label, *version)
        );
        let validator = jsonschema::draft202012::new(&serde_json::from_str(text).unwrap()).unwrap();
        assert!(
            validator.is_valid(&envelope.data),
            "{label} v{version} is not what its schema says"
        );
        let recorded: Recorded<Event> = entry.decode().unwrap();
        assert_eq!(recorded.event.label(), *label);
        let current = recorded.event.schema();
        if current == *version {
            assert_eq!(
                Entry::encode(&recorded).unwrap(),
                entry,
                "{label} v{version} is written otherwise today"
            );
        } else {
            let lifted = aevir_platform::schemas::find(label, current).unwrap();
            let lifted =
                jsonschema::draft202012::new(&serde_json::from_str(lifted.text).unwrap()).unwrap();
            assert!(
                lifted.is_valid(&recorded.event.to_data()),
                "{label} v{version} is lifted to what v{current} is not"
            );
        }
    }
    for file in fs::read_dir(Path::new(SCHEMAS).join("golden")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            names.contains(&name),
            "schemas/golden/{name} belongs to no event version"
        );
    }
}

#[test]
fn what_is_released_never_changes() {
    let lock = Path::new(SCHEMAS).join("released.json");
    let text = fs::read_to_string(&lock).unwrap_or_else(|_| "{}".into());
    let released: BTreeMap<String, Digest> = serde_json::from_str(&text).unwrap();
    for (name, digest) in &released {
        let bytes = fs::read(Path::new(SCHEMAS).join(name));
        let bytes = bytes.unwrap_or_else(|e| panic!("schemas/{name} is released and gone: {e}"));
        assert_eq!(
            Digest::of(&bytes),
            *digest,
            "schemas/{name} is released: make a new version instead"
        );
    }
    let mut files = BTreeMap::new();
    for folder in LOCKED {
        for file in fs::read_dir(Path::new(SCHEMAS).join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            files.insert(
                format!("{folder}/{name}"),
                Digest::of(&fs::read(&path).unwrap()),
            );
        }
    }
    if asked("AEVIR_RELEASE") {
        fs::write(&lock, serde_json::to_string_pretty(&files).unwrap() + "\n").unwrap();
        return;
    }
    // An earlier version's type is gone, so nothing but the lock could notice that its files changed.
    for (label, current, _) in aevir_platform::event::schemas() {
        for version in 1..current {
            for folder in LOCKED {
                let name = format!("{folder}/{label}.v{version}.json");
                assert!(
                    released.contains_key(&name),
                    "schemas/{name} is superseded and not released: run `cargo xtask schemas --release` before making a new version"
                );
            }
        }
    }
}
