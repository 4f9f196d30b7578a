//! The verbs, as a person would type them.

use serde_json::{Value, json};

use crate::platform::{TestPlatform, echo_definition};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn example(path: &str) -> String {
    format!("{}/../examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_from_push_to_result() {
    let mut platform = TestPlatform::start().await;
    let _nodes = (platform.node(&[]).await, platform.node(&[]).await);
    let pushed = platform
        .aevir(&[
            "module",
            "push",
            &example("modules/echo.wasm"),
            "--name",
            "echo",
            "--output",
            "json",
        ])
        .unwrap();
    assert_eq!(parsed(&pushed)["world"], "task");
    assert!(
        platform
            .aevir(&["module", "list"])
            .unwrap()
            .contains("echo")
    );

    let manifest = example("testing/echo/task.json");
    let set = "/params/message=\"by hand\"";
    let run = [
        "task", "run", &manifest, "--set", set, "--watch", "--output", "json",
    ];
    let task = parsed(&platform.aevir(&run).unwrap());
    assert_eq!(task["state"], "settled");
    let id = task["id"].as_str().unwrap();

    let out = platform.folder().join("results");
    let result = platform
        .aevir(&[
            "task",
            "result",
            id,
            "--out",
            out.to_str().unwrap(),
            "--output",
            "json",
        ])
        .unwrap();
    assert_eq!(parsed(&result)["result"]["params"]["message"], "by hand");
    assert_eq!(
        std::fs::read_to_string(out.join("note")).unwrap(),
        "a small input"
    );

    let listed = platform
        .aevir(&["task", "list", "--state", "settled"])
        .unwrap();
    assert!(listed.contains(id), "{listed}");
    assert!(
        platform
            .aevir(&["task", "show", id])
            .unwrap()
            .contains("accepted")
    );

    // The log, exported and audited offline and against the live platform.
    let admin = platform.admin_key();
    let file = platform.folder().join("log.ndjson");
    let file = file.to_str().unwrap();
    platform
        .aevir_with(&admin, &["log", "export", file])
        .unwrap();
    let offline = ["audit", "--file", file, "--output", "json"];
    let offline = parsed(&platform.aevir_with(&admin, &offline).unwrap());
    assert_eq!(
        (&offline["ledger"]["sum"], &offline["tasks"]),
        (&json!("0"), &json!(1))
    );
    // Anybody who has the bytes can run it again.
    let again = ["audit", "--file", file, "--reexecute", id, "--json"];
    let again = parsed(&platform.aevir(&again).unwrap());
    assert_eq!(again["reexecuted"][0]["equal"], true, "{again}");
    let objects = platform.folder().join("objects");
    let blobs = [
        "audit",
        "--file",
        file,
        "--reexecute",
        id,
        "--blobs",
        objects.to_str().unwrap(),
    ];
    assert!(platform.aevir(&blobs).unwrap().contains("equal, with"));
    let nothing = [
        "audit",
        "--file",
        file,
        "--reexecute",
        id,
        "--blobs",
        "/nowhere",
    ];
    let error = platform.aevir(&nothing).unwrap_err();
    assert!(
        error.contains("the module") && error.contains("can't be had"),
        "{error}"
    );
    let live = parsed(
        &platform
            .aevir_with(&admin, &["audit", "--output", "json"])
            .unwrap(),
    );
    assert_eq!(live["live"]["equal"], true);
    let tail = platform
        .aevir_with(&admin, &["log", "tail", "-n", "500"])
        .unwrap();
    assert!(tail.contains("task.settled"), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_log_is_found_out() {
    let platform = TestPlatform::start().await;
    let admin = platform.admin_key();
    let file = platform.folder().join("log.ndjson");
    platform
        .aevir_with(&admin, &["log", "export", file.to_str().unwrap()])
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let deposit = text
        .lines()
        .position(|line| line.contains("\"1000000000\""))
        .expect("the deposit is in the log");
    std::fs::write(&file, text.replacen("\"1000000000\"", "\"2000000000\"", 1)).unwrap();
    let error = platform
        .aevir_with(&admin, &["audit", "--file", file.to_str().unwrap()])
        .unwrap_err();
    assert!(error.contains(&format!("position {deposit}: ")), "{error}");
    assert!(
        error.contains("the rules derive") || error.contains("zero"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_contents_and_keys() {
    let platform = TestPlatform::start().await;
    let digits = example("data/digits.csv.gz");
    let add = [
        "content",
        "add",
        &digits,
        "--name",
        "digits",
        "--version",
        "1",
        "--licence",
        "CC-BY-4.0",
        "--output",
        "json",
    ];
    let content = parsed(&platform.aevir(&add).unwrap());
    assert_eq!(content["files"][0]["name"], "digits.csv.gz");
    let listed = platform.aevir(&["content", "list"]).unwrap();
    let id = content["id"].as_str().unwrap();
    assert!(listed.contains(id), "{listed}");
    let account = parsed(
        &platform
            .aevir(&["account", "show", "--output", "json"])
            .unwrap(),
    );
    let account = account["account"].as_str().unwrap();
    let terms = |more: &[&str]| {
        let all = [&["content", "terms", id, "--output", "json"], more].concat();
        parsed(&platform.aevir(&all).unwrap())
    };
    let listed = terms(&["--price", "250000", "--access", account]);
    assert_eq!(listed["price"], "250000");
    assert_eq!(listed["access"]["accounts"][0], account);
    // What is not given stays.
    assert_eq!(terms(&["--price", "7"])["access"], listed["access"]);
    let open = terms(&["--everybody"]);
    assert_eq!(
        (&open["price"], &open["access"]),
        (&"7".into(), &"everybody".into())
    );
    let shared = format!("{account}=3");
    let again = [&add[..3], &["--name", "again", "--version", "1"], &add[7..]].concat();
    let again = [&again[..], &["--price", "1", "--contributor", &shared]].concat();
    let again = parsed(&platform.aevir(&again).unwrap());
    assert_eq!(again["contributors"][0]["weight"], 3);
    let mut wrong = add.to_vec();
    (wrong[4], wrong[8]) = ("wrong", "free for all");
    let error = platform.aevir(&wrong).unwrap_err();
    assert!(error.contains("SPDX"), "{error}");

    let key = platform
        .aevir(&[
            "account", "keys", "add", "reader", "--scope", "read", "--output", "json",
        ])
        .unwrap();
    let key = parsed(&key);
    let reader = key["key"].as_str().unwrap();
    let shown = platform
        .aevir_with(reader, &["account", "show", "--output", "json"])
        .unwrap();
    assert_eq!(parsed(&shown)["name"], "requester");
    let denied = platform
        .aevir_with(reader, &["account", "join-token"])
        .unwrap_err();
    assert!(denied.starts_with("error: "), "{denied}");
    platform
        .aevir(&["account", "keys", "revoke", key["id"].as_str().unwrap()])
        .unwrap();
    platform
        .aevir_with(reader, &["account", "show"])
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_are_listed_and_rebuilt() {
    let platform = TestPlatform::start().await;
    let admin = platform.admin_key();
    let run = |arguments: &[&str]| platform.aevir_with(&admin, arguments);
    let rebuild = run(&[
        "projections",
        "rebuild",
        "work",
        "--wait",
        "--output",
        "json",
    ])
    .unwrap();
    let rebuild = parsed(&rebuild);
    let list = parsed(&run(&["projections", "list", "--output", "json"]).unwrap());
    let projections = list["projections"].as_array().unwrap();
    let live = |name: &str| {
        let of_name = projections
            .iter()
            .find(|p| p["name"] == name && p["state"] == "live");
        of_name.unwrap_or_else(|| panic!("{name}: {projections:?}"))
    };
    assert_eq!(live("work")["generation"], rebuild["generation"]);
    for name in ["accounts", "catalogue"] {
        assert!(live(name)["error"].is_null());
    }
    assert!(run(&["projections", "list"]).unwrap().contains("catalogue"));
    let denied = platform.aevir(&["projections", "list"]).unwrap_err();
    assert!(denied.contains("(scope-missing)"), "{denied}");
    let unknown = run(&["projections", "rebuild", "play"]).unwrap_err();
    assert!(unknown.contains("(unknown-projection)"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do_and_carry_their_code() {
    let platform = TestPlatform::start().await;
    let definition = platform.folder().join("task.json");
    let module = platform.push_echo().await;
    let refused = |definition_value: Value| {
        std::fs::write(&definition, definition_value.to_string()).unwrap();
        platform
            .aevir(&["task", "run", definition.to_str().unwrap()])
            .unwrap_err()
    };
    let mut unknown_field = echo_definition(&module, json!({}), json!({}));
    unknown_field["nonsense"] = json!(1);
    assert!(refused(unknown_field).contains("nonsense"));
    let poor =
        json!({"economics": {"budget": "1", "pricing": {"mode": "fixed", "price": "100000"}}});
    assert!(refused(echo_definition(&module, json!({}), poor)).contains("(budget-too-small)"));
    let strange = echo_definition(&"00".repeat(32), json!({}), json!({}));
    assert!(refused(strange).contains("(unknown-module)"));
    assert!(
        refused(json!({"module": "@nowhere"})).contains("aevir module push"),
        "an unknown name says how to make it known"
    );
    let not_wasm = platform.folder().join("task.json");
    let error = platform
        .aevir(&["module", "push", not_wasm.to_str().unwrap()])
        .unwrap_err();
    assert!(error.contains('('), "a code: {error}");
    let keyless = platform.aevir_with("", &["account", "show"]).unwrap_err();
    assert!(keyless.starts_with("error: "), "{keyless}");
}
