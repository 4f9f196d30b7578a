//! Results that are not equal bit by bit, compared by drawn verifiers on real nodes, while nobody else can read them.

use aevir_wire::{Client, ClientError, OpenAccount, Secret, Task};
use serde_json::json;

use crate::{
    nodes_under_load::explained,
    platform::{TestNode, TestPlatform, echo_definition},
    protocol::{FakeNode, Outcome},
    verifiers::{cheat, honest, nodes, platform, verifiers, wealth},
};

/// What a verifier earns, in micro-AEV.
const FEE: i64 = 50_000;
/// The price of a run.
const PRICE: i64 = 100_000;
/// Of two runs and of two verifiers with the platform's twentieth.
const TWO_RUNS: i64 = 210_000;
const TWO_VERIFIERS: i64 = 105_000;

/// A task in the fast profile that copies the four bytes `AAAA`, which are a number of about 12.08; two replicas agree whose numbers differ by
/// a thousandth at most: by a module of the requester's own, or by the market's.
async fn compared(platform: &TestPlatform, is_own: bool) -> String {
    let wasm = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/modules/tolerance.wasm"
    ));
    let limits = json!({"memory_mib": 64, "runtime_s": 60, "output_mib": 1});
    let comparator = if is_own {
        let module = platform.requester.push_module("tolerance", wasm.unwrap());
        let module = module.await.unwrap();
        assert_eq!(module.world, "comparator");
        let params = json!({"outputs": ["note"], "absolute": 0.001, "relative": 0.0});
        json!({"module": {"module": module.digest, "params": params, "limits": limits, "verifiers": verifiers()}})
    } else {
        let module = platform.admin.push_module("tolerance", wasm.unwrap());
        let mut policy = platform.admin.policy().await.unwrap().policy;
        policy.verification.tolerance = Some(module.await.unwrap().digest);
        platform.admin.adopt_policy(&policy).await.unwrap();
        json!({"tolerance": {"outputs": ["note"], "absolute": 0.001, "relative": 0, "limits": limits, "verifiers": verifiers()}})
    };
    let changes = json!({
        "runtime": "fast/1",
        "data": [{"name": "note", "from": {"inline": "AAAA"}}],
        "verification": [{"method": "sampling", "replicas": 2, "quorum": 2, "comparator": comparator}],
    });
    let echo = platform.push_echo().await;
    let definition = echo_definition(&echo, json!({"copy": ["note"]}), changes);
    let quote = platform.requester.quote_task(&definition).await.unwrap();
    assert_eq!(quote.expected_fee, (TWO_RUNS + TWO_VERIFIERS).to_string());
    let task = platform.requester.submit_task(&definition, None).await;
    task.unwrap().id
}

/// A node that brings these bytes, and an honest one, whose results are compared as soon as somebody comes who may.
async fn inspected(
    platform: &mut TestPlatform,
    bytes: &[u8],
    is_own: bool,
) -> (Task, FakeNode, TestNode) {
    let other = cheat(platform).await;
    other.appear().await;
    let id = compared(platform, is_own).await;
    let lease = other.lease().await;
    assert!(!lease.word_only && lease.task == id);
    let outcome = Outcome {
        result: json!({"other": "words"}),
        outputs: vec![("note", bytes.to_vec())],
        metrics: Vec::new(),
    };
    let reveal = other.run(&lease, &outcome).await;
    let node = honest(platform).await;
    other.reveal(&reveal).await.unwrap();
    let inspecting = |task: &Task| task.state == "inspecting";
    let task = platform.task_when(&id, "inspected", inspecting).await;
    (task, other, node)
}

/// All that whoever may read the log is told.
async fn log(platform: &TestPlatform) -> String {
    let request = OpenAccount {
        name: "auditor".into(),
        scopes: Some(vec!["audit".into(), "read".into()]),
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    let reader = platform.admin.with_key(Secret::from_text(opened.key));
    let mut lines = reader.events(0, None, false).await.unwrap();
    let mut read = String::new();
    while let Some(line) = lines.next_line().await {
        read += std::str::from_utf8(&line.unwrap()).unwrap();
    }
    read
}

async fn not_there(client: &Client, bytes: &[u8]) {
    let answer: Result<_, ClientError> = client.blob(&aevir_wire::digest(bytes)).await;
    assert_eq!(answer.unwrap_err().code(), Some("unknown-blob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_verifiers_compare_what_nobody_else_can_read() {
    let mut platform = platform().await;
    let before = wealth(&platform.requester).await;
    let near = b"BAAA";
    let (task, other, node) = inspected(&mut platform, near, false).await;
    let look = task.inspections[0].clone();
    let mut compared = task.assignments.iter().map(|a| &a.id);
    assert!(compared.all(|id| look.compares.contains(id)));
    let read = log(&platform).await;
    assert!(read.contains("\"against\"") && !read.contains("\"assignment.revealed\""));
    for client in [&platform.requester, &other.owner, &node.owner] {
        not_there(client, near).await;
    }
    assert!(!read.contains(&aevir_wire::digest(near)));
    let compares = platform.requester.task(&look.by).await.unwrap();
    assert!(compares.inputs.is_empty(), "the requester sees none");

    let verifying = [honest(&mut platform).await, honest(&mut platform).await];
    let ended = platform.ended(&task.id).await;
    assert_eq!(ended.state, "settled", "{ended:#?}");
    assert_eq!(ended.verdict.as_ref().unwrap().accepted.len(), 2);
    let word = platform.ended(&look.by).await;
    assert_eq!(word.state, "settled");
    assert!(nodes(&word).iter().all(|of| !nodes(&ended).contains(of)));
    let said = platform.requester.task_result(&word.id).await.unwrap();
    assert_eq!((said.result, said.outputs.len()), (json!(true), 0));
    for (owner, earned) in [(&other.owner, PRICE), (&node.owner, PRICE)] {
        assert_eq!(wealth(owner).await, earned);
    }
    for node in &verifying {
        assert_eq!(wealth(&node.owner).await, FEE);
    }
    let paid = before - wealth(&platform.requester).await;
    assert_eq!(paid, TWO_RUNS + TWO_VERIFIERS);
    let shown = platform.aevir(&["task", "show", &task.id]).unwrap();
    assert!(shown.contains("who compare"), "{shown}");
    // An audit compares them again, with the bytes of what was compared.
    let file = platform.folder().join("compared.ndjson");
    let (file, admin) = (file.to_str().unwrap(), platform.admin_key());
    platform
        .aevir_with(&admin, &["log", "export", file])
        .unwrap();
    let blobs = platform.folder().join("objects");
    let blobs = blobs.to_str().unwrap();
    let args = [
        "audit",
        "--file",
        file,
        "--reexecute",
        &word.id,
        "--blobs",
        blobs,
    ];
    let again = platform.aevir(&args).unwrap();
    assert!(again.contains("equal, with"), "{again}");
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_far_apart_is_nobodys_and_read_by_nobody() {
    let mut platform = platform().await;
    let before = wealth(&platform.requester).await;
    let far = b"AAAB";
    let (task, other, node) = inspected(&mut platform, far, true).await;
    let _verifying = [honest(&mut platform).await, honest(&mut platform).await];
    let ended = platform.ended(&task.id).await;
    assert_eq!(ended.state, "inconclusive", "{ended:#?}");
    assert_eq!(ended.inspections[0].state, "failed");
    // Its module has seen both, and its requester neither: nor a line of what it said of them.
    for bytes in [far, b"AAAA"] {
        let answer = platform.requester.blob(&aevir_wire::digest(bytes)).await;
        assert_eq!(answer.is_ok(), bytes == b"AAAA", "its own input is his");
    }
    let look = &ended.inspections[0].by;
    let said = platform.aevir(&["task", "log", look]).unwrap();
    assert!(!said.contains("number 0"), "{said}");
    let attempt = 1_000;
    assert_eq!(wealth(&other.owner).await, attempt);
    assert_eq!(wealth(&node.owner).await, attempt);
    let paid = before - wealth(&platform.requester).await;
    assert_eq!(paid, 2 * attempt + TWO_VERIFIERS);
    explained(&platform).await;
}
