//! Who may import whom: the table in `ARCHITECTURE.md`, enforced.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate of the workspace with the crates of the workspace that it may use.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("aevir-events", &[]),
    ("aevir-platform", &["aevir-events"]),
    ("aevir-gpu", &[]),
    ("aevir-sandbox", &["aevir-gpu"]),
    ("aevir-wire", &[]),
    (
        "aevir-api",
        &["aevir-wire", "aevir-events", "aevir-platform"],
    ),
    ("aevir-node", &["aevir-wire", "aevir-sandbox", "aevir-gpu"]),
    (
        "aevir",
        &[
            "aevir-api",
            "aevir-events",
            "aevir-gpu",
            "aevir-node",
            "aevir-platform",
            "aevir-sandbox",
            "aevir-wire",
        ],
    ),
    ("xtask", &[]),
    (
        "aevir-bench",
        &[
            "aevir-events",
            "aevir-gpu",
            "aevir-platform",
            "aevir-sandbox",
        ],
    ),
    ("aevir-simulate", &["aevir-events", "aevir-platform"]),
];

/// Libraries that a part must not even know, because of what they would let in.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    (
        "aevir-platform",
        &[
            "axum", "rand", "reqwest", "sqlx", "tokio", "wasmtime", "wgpu", "jiff", "chrono",
        ],
    ),
    ("aevir-events", &["axum", "reqwest", "wasmtime", "wgpu"]),
    ("aevir-gpu", &["wasmtime", "sqlx", "axum", "reqwest"]),
    ("aevir-sandbox", &["sqlx", "axum", "reqwest"]),
    ("aevir-wire", &["sqlx", "axum", "wasmtime", "wgpu"]),
    ("aevir-api", &["wasmtime", "wgpu"]),
    ("aevir-node", &["sqlx", "axum", "wasmtime", "wgpu"]),
    // The chores must start quickly on a fresh checkout: what they need to build is small.
    ("xtask", &["sqlx", "tokio", "axum", "wasmtime", "wgpu"]),
    ("aevir-bench", &["axum"]),
    ("aevir-simulate", &["axum", "rand", "sqlx", "tokio"]),
];

/// The direct dependencies of every crate of the workspace, development ones left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.packages.into_iter();
    packages
        .map(|package| {
            let used = package
                .dependencies
                .into_iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name);
            (package.name.to_string(), used.collect())
        })
        .collect()
}

#[test]
fn imports_follow_the_table() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let found = dependencies();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        table.keys().copied().collect(),
        "every crate has a row in the table"
    );
    for (name, used) in &found {
        let inside: BTreeSet<&str> = used
            .iter()
            .map(String::as_str)
            .filter(|used| table.contains_key(used))
            .collect();
        let allowed: BTreeSet<&str> = table[name.as_str()].iter().copied().collect();
        let forbidden: Vec<_> = inside.difference(&allowed).collect();
        assert!(
            forbidden.is_empty(),
            "{name} must not import {forbidden:?}: see the table of folders in ARCHITECTURE.md"
        );
    }
}

#[test]
fn parts_do_not_know_what_they_must_not() {
    let found = dependencies();
    for (name, unknown) in MUST_NOT_KNOW {
        for library in *unknown {
            assert!(
                !found[*name].contains(*library),
                "{name} must not know of {library}: see the table of folders in ARCHITECTURE.md"
            );
        }
    }
}
