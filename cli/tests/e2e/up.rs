//! `aevir up`: a platform on one machine, and the same one when it is started again.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aevir_wire::{Client, NodeFilter, Secret};
use serde_json::{Value, json};

use crate::platform::{AEVIR, echo_definition};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Two looks of `up` at its nodes, and a node's start.
const A_WHILE: Duration = Duration::from_secs(6);

/// `aevir up` on a free port; ends with its standard input.
struct Up {
    child: Child,
    url: String,
    /// Lines of its standard error.
    said: Arc<Mutex<Vec<String>>>,
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
        // It goes on talking.
        let said = Arc::new(Mutex::new(said));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| heard.lock().unwrap().push(line));
        });
        Self { child, url, said }
    }

    /// Waits until it has said something.
    fn heard(&self, text: &str) {
        let begun = Instant::now();
        while !self
            .said
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
        {
            let said = self.said.lock().unwrap().join("\n");
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not say `{text}`:\n{said}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn aevir(&self, data: &Path, args: &[&str]) -> Value {
        self.aevir_as("you", data, args)
    }

    fn aevir_as(&self, who: &str, data: &Path, args: &[&str]) -> Value {
        let key = std::fs::read_to_string(data.join(format!("{who}.key"))).unwrap();
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

/// The ids of the nodes with a standing.
async fn nodes(up: &Up, data: &Path, standing: &str) -> Vec<String> {
    let key = std::fs::read_to_string(data.join("local.key")).unwrap();
    let key = Secret::from_text(key.trim());
    let client = Client::new(&up.url, Some(key)).unwrap();
    // Lists follow the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let nodes = client.nodes(&NodeFilter::default()).await.unwrap().nodes;
    let found = nodes.into_iter().filter(|node| node.standing == standing);
    found.map(|node| node.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_left_or_was_revoked_stays_away_and_the_next_start_has_a_new_one_join() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data);
    let both = nodes(&up, &data, "working").await;
    let [leaving, revoked] = both.try_into().unwrap();
    up.aevir_as("local", &data, &["node", "leave", &leaving]);
    up.heard(&format!("({leaving}) has left or was revoked"));
    let reason = ["node", "revoke", revoked.as_str(), "--reason", "a test"];
    up.aevir_as("local", &data, &reason);
    up.heard(&format!("({revoked}) has left or was revoked"));
    // Neither is tried again.
    let log = |name: &str| std::fs::read_to_string(data.join("nodes").join(name).join("node.log"));
    let before = ["local-1", "local-2"].map(|name| log(name).unwrap());
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(
        before,
        ["local-1", "local-2"].map(|name| log(name).unwrap())
    );
    let said = up.said.lock().unwrap().join("\n");
    assert_eq!(said.matches("has left or was revoked").count(), 2, "{said}");
    up.end();

    let up = Up::start(&data);
    assert_eq!(nodes(&up, &data, "working").await.len(), 2);
    assert_eq!(nodes(&up, &data, "left").await, [leaving]);
    assert_eq!(nodes(&up, &data, "revoked").await, [revoked]);
    up.end();
}
