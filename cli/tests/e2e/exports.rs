//! Exports and audits of a running platform, as an auditor would make them.

use std::path::Path;

use serde_json::{Value, json};

use crate::platform::TestPlatform;

/// `aevir` as the operator; its JSON document.
fn json_of(platform: &TestPlatform, args: &[&str]) -> Value {
    let all = [args, &["--output", "json"]].concat();
    let text = platform.aevir_with(&platform.admin_key(), &all);
    let text = text.unwrap_or_else(|error| panic!("{args:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn refused(platform: &TestPlatform, args: &[&str]) -> String {
    platform
        .aevir_with(&platform.admin_key(), args)
        .unwrap_err()
}

/// A platform with a settled task, and its log's public key.
async fn settled() -> (TestPlatform, String) {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&[]).await;
    let task = platform.echo(json!({"message": "hello"}), json!({})).await;
    assert_eq!(platform.ended(&task.id).await.state, "settled");
    drop(node);
    let key = platform.admin.log_key().await.unwrap().key;
    (platform, key)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_audited_with_its_checkpoint_and_everything_else_there_is() {
    let (platform, key) = settled().await;
    let file = platform.folder().join("log.ndjson");
    let exported = json_of(&platform, &["log", "export", text(&file)]);
    assert_eq!(
        exported["checkpoint"],
        format!("{}.checkpoint", text(&file))
    );
    assert!(!platform.folder().join("log.ndjson.partial").exists());
    let events = exported["events"].as_u64().unwrap();

    let audit = json_of(
        &platform,
        &["audit", "--file", text(&file), "--log-key", &key],
    );
    assert_eq!(
        (&audit["clean"], &audit["events"]),
        (&json!(true), &json!(events))
    );
    assert_eq!(audit["root"], exported["root"]);
    let count = |audit: &Value, what: &str| {
        let checks = audit["checked"].as_array().unwrap().clone();
        let check = checks.into_iter().find(|c| c["what"] == what).unwrap();
        check["count"].as_u64().unwrap()
    };
    assert_eq!(count(&audit, "signatures of checkpoints"), 1);

    // The platform itself: its word, its tiles, and a checkpoint that was kept.
    let kept = format!("{}.checkpoint", text(&file));
    let live = json_of(&platform, &["audit", "--log-key", &key, "--since", &kept]);
    assert_eq!(
        (&live["clean"], &live["live"]["equal"]),
        (&json!(true), &json!(true))
    );
    assert!(count(&live, "tiles of hashes") > 0 && count(&live, "bundles of entries") > 0);

    // Its database, with every column.
    let database = platform.folder().join("log.sqlite");
    let rows = json_of(&platform, &["audit", "--database", text(&database)]);
    assert_eq!(rows["clean"], true, "{rows}");
    assert_eq!(
        count(&rows, "rows of the database"),
        rows["events"].as_u64().unwrap()
    );

    // Another key is not the log's.
    let other = "aevir.local/other+c7c21da4+AT3Rfv6J7uxq8DSgBDG1TiQQIlAdTTRVqNcKdNpCtbCL";
    let error = refused(&platform, &["audit", "--log-key", other]);
    assert!(error.contains("key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_and_states_are_shown_as_of_then() {
    let (platform, _) = settled().await;
    let file = platform.folder().join("log.ndjson");
    json_of(&platform, &["log", "export", text(&file)]);
    let at = |at: &str| json_of(&platform, &["audit", "--file", text(&file), "--at", at]);
    let start = at("0");
    assert_eq!(
        (&start["events"], &start["ledger"]["accounts"]),
        (&json!(1), &json!({}))
    );
    let lines = std::fs::read_to_string(&file).unwrap();
    let created = lines
        .lines()
        .position(|line| line.contains("\"task.created\""))
        .unwrap();
    let then = at(&(created + 1).to_string());
    let task = then["tasks"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    assert_eq!(task["state"], "created");
    assert!(
        then["ledger"]["accounts"]
            .as_object()
            .unwrap()
            .keys()
            .any(|a| a.ends_with("/escrow"))
    );
    let end = at("2100-01-01T00:00:00Z");
    let task = end["tasks"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    assert_eq!(task["state"], "settled");
    let error = refused(
        &platform,
        &["audit", "--file", text(&file), "--at", "900000"],
    );
    assert!(error.contains("the log has only"), "{error}");
    let error = refused(&platform, &["audit", "--file", text(&file), "--at", "noon"]);
    assert!(error.contains("neither a position nor a time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_export_is_continued_to_the_same_bytes() {
    let (platform, key) = settled().await;
    for name in ["plain.ndjson", "zipped.ndjson.zst"] {
        let file = platform.folder().join(name);
        let first = json_of(&platform, &["log", "export", text(&file)]);
        let whole = std::fs::read(&file).unwrap();
        // A file that is there is somebody's evidence.
        let error = refused(&platform, &["log", "export", text(&file)]);
        assert!(error.contains("--force"), "{error}");
        assert!(std::fs::read(&file).unwrap() == whole);
        // What an interruption leaves: a torn end, and no file of the final name.
        let partial = platform.folder().join(format!("{name}.partial"));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&partial, &whole[..whole.len() / 2]).unwrap();
        let error = refused(&platform, &["log", "export", text(&file)]);
        assert!(error.contains("--resume"), "{error}");
        let resumed = json_of(&platform, &["log", "export", text(&file), "--resume"]);
        let again = std::fs::read(&file).unwrap();
        // Only the loss of the node, which is gone, may have been added meanwhile.
        if resumed["events"] == first["events"] {
            assert!(again == whole, "{name}");
        }
        assert!(
            name.ends_with(".zst") || again.starts_with(&whole),
            "{name}"
        );
        assert!(name.ends_with(".zst") || resumed["resumed"].as_u64().unwrap() > 0);
        let audit = json_of(
            &platform,
            &["audit", "--file", text(&file), "--log-key", &key],
        );
        assert_eq!(audit["clean"], true, "{name}: {audit}");
        // What was there is not taken on trust.
        if name == "plain.ndjson" {
            let changed = String::from_utf8(whole)
                .unwrap()
                .replacen("requester", "reque5ter", 1);
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&partial, changed).unwrap();
            let error = refused(&platform, &["log", "export", text(&file), "--resume"]);
            assert!(error.contains("signed checkpoint"), "{error}");
            assert!(!file.exists() && partial.exists());
        }
    }
    let part = platform.folder().join("part.ndjson");
    let exported = json_of(
        &platform,
        &["log", "export", text(&part), "--from", "3", "--to", "5"],
    );
    assert_eq!(
        (&exported["events"], exported.get("checkpoint")),
        (&json!(2), None)
    );
    let lines = std::fs::read_to_string(&part).unwrap();
    let positions: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].clone())
        .collect();
    assert_eq!(positions, ["3", "4"]);
    let piped = platform
        .aevir_with(&platform.admin_key(), &["log", "export", "-", "--to", "2"])
        .unwrap();
    assert_eq!(piped.lines().count(), 2);
}
