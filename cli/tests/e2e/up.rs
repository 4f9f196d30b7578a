//! `aevir up`: a platform on one machine, and the same one when it is started again.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::platform::{AEVIR, echo_definition};

/// `aevir up` on a free port; ends with its standard input.
struct Up {
    child: Child,
    url: String,
}

impl Up {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(AEVIR)
            .args([
                "up",
                "--lifeline",
                "--listen",
                "127.0.0.1:0",
                "--nodes",
                "2",
                "--gpu",
                "off",
                "--data",
            ])
            .arg(data)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let mut url = None;
        for line in lines.by_ref() {
            let line = line.unwrap();
            let found = line.trim().strip_prefix("export AEVIR_SERVER=");
            url = found.map(|rest| rest.split(' ').next().unwrap().to_owned());
            said.push(line);
            if url.is_some() {
                break;
            }
        }
        let url = url.unwrap_or_else(|| panic!("it did not start:\n{}", said.join("\n")));
        // It must be able to go on talking.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    fn aevir(&self, data: &Path, args: &[&str]) -> Value {
        let key = std::fs::read_to_string(data.join("you.key")).unwrap();
        let output = Command::new(AEVIR)
            .args(args)
            .args(["--output", "json"])
            .env("AEVIR_SERVER", &self.url)
            .env("AEVIR_KEY", key.trim())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn up_runs_tasks_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data);
    let module = format!(
        "{}/../examples/modules/echo.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    // One owner runs everything: two replicas of one task on the nodes of one account.
    let sampled = json!({"verification": [{"method": "sampling", "replicas": 3, "quorum": 2}]});
    let definition = folder.path().join("task.json");
    std::fs::write(
        &definition,
        echo_definition("", json!({}), sampled).to_string(),
    )
    .unwrap();
    let definition = definition.to_str().unwrap();
    let task = up.aevir(
        &data,
        &["task", "run", definition, "--module", &module, "--watch"],
    );
    assert_eq!(task["state"], "settled", "{task}");
    let before = up.aevir(&data, &["account", "show"]);
    up.end();

    let up = Up::start(&data);
    let after = up.aevir(&data, &["account", "show"]);
    assert_eq!(before, after);
    assert_ne!(after["available"], "0");
    let again = up.aevir(
        &data,
        &["task", "run", definition, "--module", &module, "--watch"],
    );
    assert_eq!(
        again["state"], "settled",
        "the same nodes are back: {again}"
    );
    let audit = up.aevir(&data, &["audit"]);
    assert_eq!(audit["live"]["equal"], true);
    assert_eq!(audit["tasks"], 2);
    up.end();
}
