//! Receipts, proofs and pins, as a person would use them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::platform::{Stores, TestPlatform};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// The one file with what is known of the platform's log.
fn pin(platform: &TestPlatform) -> PathBuf {
    let folder = platform.folder().join("known-logs");
    let mut files = std::fs::read_dir(folder).unwrap();
    files.next().unwrap().unwrap().path()
}

fn refused(platform: &TestPlatform, args: &[&str], said: &str) {
    let error = platform
        .aevir_with(&platform.admin_key(), args)
        .unwrap_err();
    assert!(error.contains(said), "`{error}` says `{said}`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_checked_without_the_server() {
    let mut platform = TestPlatform::start().await;
    let _node = platform.node(&[]).await;
    let task = platform.echo(json!({"message": "x"}), json!({})).await;
    platform.ended(&task.id).await;
    let file = platform.folder().join("receipt.json");
    let (file_name, id) = (file.to_str().unwrap(), task.id.as_str());
    let shown = platform
        .aevir(&["receipt", id, "--out", file_name])
        .unwrap();
    assert!(shown.contains("task.settled"), "{shown}");
    assert!(shown.contains("final, as the server says"), "{shown}");

    let key = std::fs::read_to_string(platform.folder().join("log.pub")).unwrap();
    let key = key.trim();
    assert_eq!(platform.aevir(&["log", "key"]).unwrap().trim(), key);
    platform.kill_server();
    let verify = ["receipt", "--verify", file_name, "--log-key", key];
    let verified = platform.aevir(&verify).unwrap();
    assert!(verified.contains("proven by"), "{verified}");
    assert!(verified.contains("not told by the entry"), "{verified}");
    let text = std::fs::read_to_string(&file).unwrap();
    let fee = parsed(parsed(&text)["entry"].as_str().unwrap())["data"]["fee"].clone();
    let forged = text.replace(
        &format!(r#"\"fee\":\"{}"#, fee.as_str().unwrap()),
        r#"\"fee\":\"9"#,
    );
    assert_ne!(forged, text);
    std::fs::write(&file, forged).unwrap();
    refused(&platform, &verify, "proves nothing");
    std::fs::write(&file, text).unwrap();
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let verify = ["receipt", "--verify", file_name, "--log-key", other];
    refused(&platform, &verify, "not signed by the log's key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_proven_and_pinned() {
    let platform = TestPlatform::start().await;
    let admin = platform.admin_key();
    let run = |args: &[&str]| platform.aevir_with(&admin, args).unwrap();
    let checkpoint = run(&["log", "checkpoint", "--min-size", "3"]);
    assert!(checkpoint.starts_with("aevir.local/"), "{checkpoint}");
    assert!(run(&["log", "prove", "0"]).starts_with("c2sp.org/tlog-proof@v1\nindex 0\n"));
    assert!(run(&["log", "prove", "1", "--size", "2"]).contains("tree of 2 entries"));
    assert!(run(&["log", "consistency", "1", "3"]).contains("is the beginning of"));
    let head = run(&["log", "head"]);
    assert!(head.contains("publishing"), "{head}");

    // Another key, as if somebody were between.
    let file = pin(&platform);
    let record = parsed(&std::fs::read_to_string(&file).unwrap());
    let key = record["key"].as_str().unwrap();
    let mut changed = record.clone();
    changed["key"] = json!("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    std::fs::write(&file, changed.to_string()).unwrap();
    refused(&platform, &["log", "checkpoint"], "KEY HAS CHANGED");
    std::fs::write(&file, record.to_string()).unwrap();
    run(&["log", "checkpoint", "--log-key", key]);
    let other = changed["key"].as_str().unwrap();
    refused(
        &platform,
        &["log", "checkpoint", "--log-key", other],
        "not the one that you gave",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rewritten_or_cut_raises_an_alarm() {
    let long = TestPlatform::start().await;
    for _ in 0..5 {
        long.push_echo().await;
    }
    // The same key on another history, as an operator would have it who rewrites the log.
    let key = long.folder().join("log.key").display().to_string();
    let rewritten = TestPlatform::start_on(Stores {
        args: vec!["--log-key".into(), key],
        env: vec![],
    })
    .await;
    for platform in [&long, &rewritten] {
        let size = platform.admin.log_head(false).await.unwrap().size;
        let newest = ["log", "checkpoint", "--min-size", &size];
        platform.aevir_with(&platform.admin_key(), &newest).unwrap();
    }
    let seen = |platform: &TestPlatform| parsed(&read(&pin(platform)));
    let show = |platform: &TestPlatform, note: &Value| {
        let file = pin(platform);
        let mut record = parsed(&read(&file));
        record["checkpoint"] = note.clone();
        std::fs::write(&file, record.to_string()).unwrap();
    };
    let (short_note, long_note) = (seen(&rewritten), seen(&long));
    let size = |note: &Value| -> u64 {
        let note = note["checkpoint"].as_str().unwrap();
        note.lines().nth(1).unwrap().parse().unwrap()
    };
    assert!(size(&short_note) < size(&long_note));
    show(&rewritten, &long_note["checkpoint"]);
    refused(&rewritten, &["log", "checkpoint"], "ROLLBACK");
    show(&long, &short_note["checkpoint"]);
    refused(&long, &["log", "checkpoint"], "FORK");
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
