//! What works without a platform: `run-local` and `doctor`.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::platform::AEVIR;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

fn aevir(cache: &Path, args: &[&str]) -> Output {
    Command::new(AEVIR)
        .args(args)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        let words = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text} {words}")
    })
}

#[test]
fn a_task_runs_without_a_platform_and_comes_out_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let module = examples().join("modules/echo.wasm");
    let task = examples().join("testing/echo/task.json");
    let run = |out: &str| {
        let out = folder.path().join(out);
        let output = aevir(
            folder.path(),
            &[
                "run-local",
                module.to_str().unwrap(),
                "--task",
                task.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "--json",
            ],
        );
        assert!(output.status.success(), "{output:?}");
        (document(&output), std::fs::read(out.join("note")).unwrap())
    };
    let ((one, note), (two, _)) = (run("one"), run("two"));
    assert_eq!(note, b"a small input");
    assert_eq!(one["end"], "ok");
    assert_eq!(one["outputs"][0]["name"], "note");
    assert_eq!(
        one["metrics"][0],
        json!({"name": "score", "step": "0", "value": "0.5"})
    );
    for field in ["result", "module", "seed", "metrics"] {
        assert_eq!(one[field], two[field], "{field}");
    }
    assert!(one["usage"]["fuel"].as_u64().unwrap() > 0);
    assert_eq!(one["usage"]["fuel"], two["usage"]["fuel"]);
    assert_eq!(one["outputs"][0]["digest"], two["outputs"][0]["digest"]);
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let echo = examples().join("modules/echo.wasm");
    let echo = echo.to_str().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let elsewhere = file(
        "elsewhere.json",
        r#"{"data": [{"name": "digits", "from": {"content": {"id": "@digits"}}}]}"#,
    );
    let small = file(
        "small.json",
        r#"{"params": {"spin": 5}, "limits": {"fuel": "1000"}}"#,
    );
    let text = file("text.wasm", "no module");
    let rows: [(&[&str], &str); 4] = [
        (
            &["run-local", echo, "--task", &elsewhere],
            "--input digits=PATH",
        ),
        (
            &["run-local", echo, "--task", &small],
            "limit `fuel` of 1000",
        ),
        (&["run-local", &text], "not a WebAssembly component"),
        (&["run-local", "/nonexistent.wasm"], "/nonexistent.wasm"),
    ];
    for (args, expected) in rows {
        let output = aevir(folder.path(), args);
        assert!(!output.status.success(), "{args:?}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(expected), "{args:?}: {words}");
    }
}

#[test]
fn the_doctor_looks_at_all_that_a_node_needs() {
    let folder = tempfile::tempdir().unwrap();
    let output = aevir(
        folder.path(),
        &[
            "doctor",
            "--json",
            "--data",
            folder.path().to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let report = document(&output);
    let checks = report["checks"].as_array().unwrap();
    for name in [
        "cores",
        "memory",
        "disk",
        "executor",
        "compiler",
        "address space",
        "confinement",
        "GPU",
    ] {
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no check `{name}`: {report}"));
        assert_ne!(check["grade"], "bad", "{check}");
        let has_remedy = !check["remedy"].is_null();
        assert_eq!(check["grade"] == "good", !has_remedy, "{check}");
    }
    let roles: Vec<_> = report["confinement"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["role"])
        .collect();
    assert_eq!(roles, ["cpu", "compile", "gpu"]);
    // A folder that is not there is said to be.
    let output = aevir(folder.path(), &["doctor", "--data", "/nonexistent"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("name another with --data"), "{text}");
}
