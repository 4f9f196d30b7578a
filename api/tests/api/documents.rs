//! Documents that are generated from the code: the task schema, the error list, the OpenAPI document.
//!
//! `AEVIR_BLESS=1 cargo test -p aevir-api` writes the checked-in ones anew.

use std::{collections::BTreeMap, path::PathBuf};

use aevir_api::{CODES, openapi, status_of, task_schema};
use aevir_platform::rejection;
use reqwest::{Method, StatusCode};

use crate::support::TestPlatform;

/// Compares a generated document with its checked-in copy, or writes that.
fn check_document(file: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(file);
    if std::env::var_os("AEVIR_BLESS").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{file} is not what the code says: run `AEVIR_BLESS=1 cargo test -p aevir-api documents`"
    );
}

#[test]
fn the_task_schema_is_the_committed_one() {
    let schema = serde_json::to_string_pretty(&task_schema()).unwrap();
    check_document("schemas/task.v1.json", &format!("{schema}\n"));
}

#[test]
fn every_error_code_is_documented() {
    let mut rows: BTreeMap<&str, (StatusCode, String)> = BTreeMap::new();
    for (code, kind, message) in rejection::CODES {
        let meaning = format!("Says: {}.", message.replace('|', "\\|"));
        assert!(
            rows.insert(code, (status_of(*kind), meaning)).is_none(),
            "{code} stands twice"
        );
    }
    for (code, status, meaning) in CODES {
        // One code of the machine is also given before it, for the same reason and with the same status.
        if let Some((known, _)) = rows.insert(code, (*status, (*meaning).to_owned())) {
            assert_eq!((*code, known), ("wrong-world", *status));
        }
    }
    let mut text = String::from(
        "# Error codes\n\n\
         Every error is a problem document (RFC 9457, `application/problem+json`) with a stable `code`; `type` is\n\
         `urn:aevir:problem:<code>`. A request that got one of these has changed nothing (`outcome-unknown` alone can't\n\
         tell). Try again only what has the status 429 or 503, after `Retry-After`; everything else needs another request\n\
         or another state first.\n\n\
         This page is generated from the code by a test.\n\n\
         | code | status | meaning |\n|---|---|---|\n",
    );
    for (code, (status, meaning)) in rows {
        text += &format!("| `{code}` | {} | {meaning} |\n", status.as_u16());
    }
    check_document("docs/errors.md", &text);
}

/// What stands above the tables in `docs/views.md`.
const VIEWS_HEAD: &str = include_str!("views.head.md");

#[test]
fn every_column_of_the_views_is_documented() {
    let mut text = VIEWS_HEAD.to_owned();
    for projection in aevir_api::views::projections() {
        text += &format!("\n## Projection `{}`\n", projection.name());
        for table in projection.tables() {
            text += &format!(
                "\n### `{}`\n\n{}\n\n| column | type | is |\n| --- | --- | --- |\n",
                table.name, table.about
            );
            for (i, column) in table.columns.iter().enumerate() {
                let kind = match column.kind {
                    aevir_events::projection::Kind::Int => "integer",
                    aevir_events::projection::Kind::Text => "text",
                };
                let key = if i < table.key { ", key" } else { "" };
                let null = if column.nullable { " or null" } else { "" };
                let about = column.about.replace('|', "\\|");
                text += &format!("| `{}` | {kind}{null}{key} | {about} |\n", column.name);
            }
        }
    }
    check_document("docs/views.md", &text);
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_served() {
    let document = serde_json::to_value(openapi()).unwrap();
    let platform = TestPlatform::start().await;
    let (status, _, served) = platform.raw(Method::GET, "/openapi.json", None, "").await;
    assert_eq!(status, 200);
    let served: serde_json::Value = serde_json::from_slice(&served).unwrap();
    assert_eq!(served, document);
    let mut operations = 0;
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "two operations are called {id}");
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{path}"
            );
            assert!(
                operation["responses"]["default"]["content"]["application/problem+json"]
                    .is_object()
            );
            let concrete = path.replace(['{', '}'], "");
            let method = method.to_uppercase().parse().unwrap();
            let (status, _, body) = platform.raw(method, &concrete, None, "").await;
            let body = String::from_utf8_lossy(&body);
            let missing = body.contains("unknown-route") || body.contains("method-not-allowed");
            assert!(!missing, "{path} is described but not served");
            let open = operation["security"].as_array().is_none_or(Vec::is_empty);
            assert_eq!(status == 401, !open, "{path}: {status}");
        }
    }
    // What is not registered through its description would be missing in it.
    let described = count_in_sources("#[utoipa::path(");
    assert_eq!(operations, described);
    assert_eq!(
        count_in_sources(".route("),
        1,
        "only /openapi.json does without"
    );
}

fn count_in_sources(what: &str) -> usize {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                count += std::fs::read_to_string(path).unwrap().matches(what).count();
            }
        }
    }
    count
}

/// The wire's report and the domain's are two types: both must give the same digest and the same bytes.
#[test]
fn both_sides_seal_a_report_alike() {
    let text = serde_json::json!({
        "task": "01J00000000000000000000001",
        "assignment": "01J00000000000000000000002",
        "node": "01J00000000000000000000003",
        "outputs": [{"name": "a", "digest": "11".repeat(32), "size": "5"}],
        "result": {"digest": "22".repeat(32), "size": "7"},
        "metrics": [{"name": "accuracy", "step": "3", "value": "-970000"}],
        "usage": {"fuel": "1", "wall_ms": "2", "peak_memory_bytes": "3", "gpu_dispatches": "4",
            "gpu_workgroups": "5", "gpu_bytes_in": "6", "gpu_bytes_out": "7", "gpu_time_ns": "8"},
        "trace_root": "33".repeat(32),
        "class": "cpu",
        "resumed_from": "44".repeat(32),
        "salt": "55".repeat(32),
    });
    let wire: aevir_wire::Report = serde_json::from_value(text.clone()).unwrap();
    let domain: aevir_platform::report::Report = serde_json::from_value(text).unwrap();
    assert_eq!(wire.commitment().unwrap(), domain.commitment().0);
    assert_eq!(
        serde_json::to_value(&wire).unwrap(),
        serde_json::to_value(&domain).unwrap()
    );
    let message = aevir_wire::commit_message(wire.commitment().unwrap());
    assert_eq!(
        message,
        aevir_platform::report::commit_message(domain.commitment())
    );
}

/// Policy and node profile travel in two types each, too.
#[test]
fn both_sides_write_policies_and_profiles_alike() {
    let policy = aevir_platform::policy::Policy::default();
    let json = serde_json::to_value(&policy).unwrap();
    let wire: aevir_wire::Policy = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(wire).unwrap(), json);
    let profile = aevir_wire::NodeProfile {
        gpu: Some(aevir_wire::GpuProfile {
            adapter: "a".into(),
            class: "c".into(),
            memory_mib: 1,
            buffer_mib: Some(2),
            features: vec!["shader-f16".into()],
            software: true,
            compute: Some(3),
        }),
        cpu_mfuel_s: Some(1_500),
        labels: [("region".into(), "eu".into())].into(),
        confinement: Some(aevir_wire::NodeConfinement {
            seccomp: aevir_wire::Wall::Full,
            landlock: aevir_wire::Wall::None,
            capabilities: Some(aevir_wire::Wall::Full),
            resource_limits: Some(aevir_wire::Wall::Partly),
            pooled: Some(true),
            gpu: Some(aevir_wire::GpuConfinement {
                seccomp: aevir_wire::Wall::Full,
                landlock: aevir_wire::Wall::Full,
                capabilities: aevir_wire::Wall::Full,
                resource_limits: aevir_wire::Wall::None,
            }),
        }),
        ..crate::support::node::profile("n")
    };
    let json = serde_json::to_value(&profile).unwrap();
    let domain: aevir_platform::command::NodeProfile =
        serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(domain).unwrap(), json);
}

#[test]
fn both_sides_write_terms_alike() {
    let full = serde_json::json!({
        "caps": {"cpu_cores": 1, "memory_mib": 2, "gpu_memory_mib": 3, "storage_mib": 4, "runs": 5},
        "hours": [{"from_min": 0, "to_min": 10_080}],
        "asks": {"training": "5", "data-processing": "6"},
        "requesters": {"allow": ["01J00000000000000000000001"], "deny": ["01J00000000000000000000002"]},
        "modules": {"allow": ["11".repeat(32)], "deny": ["22".repeat(32)]},
    });
    for json in [full, serde_json::json!({})] {
        let wire: aevir_wire::NodeTerms = serde_json::from_value(json.clone()).unwrap();
        let domain: aevir_platform::terms::NodeTerms =
            serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(wire).unwrap(), json);
        assert_eq!(serde_json::to_value(domain).unwrap(), json);
    }
}

#[test]
fn both_sides_sign_a_rotation_alike() {
    let text = "01J00000000000000000000003";
    assert_eq!(
        aevir_wire::rotation_message(text, [7; 32], [8; 32]),
        aevir_platform::rotation::rotation_message(
            text.parse().unwrap(),
            aevir_platform::hexbytes::Hex([7; 32]),
            aevir_platform::digest::Digest([8; 32]),
        )
    );
}
