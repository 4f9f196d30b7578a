//! Verifiers that look at results before their verdict, with real servers and nodes: check modules, attestation, and who cheats at it.

use aevir_wire::{ChangeStake, Client, Deposit, OpenAccount, Policy, Secret, Task};
use serde_json::{Value, json};

use crate::{
    nodes_under_load::explained,
    platform::{TestNode, TestPlatform, echo_definition},
    protocol::{FakeNode, Outcome},
};

/// What each owner puts up for its node, in micro-AEV.
const STAKE: i64 = 3_000_000;
/// What a verifier earns.
const FEE: i64 = 50_000;
/// What is locked for its word.
const LOCKED: i64 = 3 * FEE;
/// The price of a run with the platform's twentieth, and of two verifiers.
const RUN: i64 = 105_000;
const TWO_VERIFIERS: i64 = 105_000;

/// A platform that waits for reveals only shortly.
pub(crate) async fn platform() -> TestPlatform {
    let platform = TestPlatform::start().await;
    let policy = platform.admin.policy().await.unwrap().policy;
    let policy = Policy {
        reveal_ms: 4_000,
        ..policy
    };
    platform.admin.adopt_policy(&policy).await.unwrap();
    platform
}

pub(crate) async fn put_up(platform: &TestPlatform, owner: &Client, node: &str) {
    let account = owner.account().await.unwrap().account;
    let deposit = Deposit {
        amount: STAKE.to_string(),
        reference: format!("for {node}"),
    };
    platform.admin.deposit(&account, &deposit).await.unwrap();
    let amount = STAKE.to_string();
    owner.stake(node, &ChangeStake { amount }).await.unwrap();
}

/// A real node with a stake.
pub(crate) async fn honest(platform: &mut TestPlatform) -> TestNode {
    let node = platform.node(&[]).await;
    put_up(platform, &node.owner, &node.id).await;
    node
}

/// A node that speaks the protocol and says what it likes, with a stake; it does not show itself yet.
pub(crate) async fn cheat(platform: &TestPlatform) -> FakeNode {
    let request = OpenAccount {
        name: "cheat".into(),
        scopes: None,
    };
    let opened = platform.admin.open_account(&request).await.unwrap();
    let owner = platform.admin.with_key(Secret::from_text(opened.key));
    let node = FakeNode::join(&platform.url, &owner, "cheat").await;
    put_up(platform, &owner, &node.id).await;
    node
}

async fn staked(node: &FakeNode) -> i64 {
    let shown = node.owner.node(&node.id).await.unwrap();
    shown.stake.unwrap().amount.parse().unwrap()
}

pub(crate) async fn wealth(owner: &Client) -> i64 {
    let account = owner.account().await.unwrap();
    let parsed = |text: &str| text.parse::<i64>().unwrap();
    parsed(&account.available) + parsed(&account.pending)
}

pub(crate) fn verifiers() -> Value {
    json!({"count": 3, "quorum": 2, "fee": FEE.to_string()})
}

/// A task that copies four bytes, which the example check `finite` reads as a number.
async fn checked(platform: &TestPlatform, four: &str) -> String {
    let wasm = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/modules/finite.wasm"
    ));
    let check = platform.requester.push_module("finite", wasm.unwrap());
    let check = check.await.unwrap();
    assert_eq!(check.world, "check");
    let module = json!({
        "module": check.digest,
        "params": {"outputs": ["note"], "magnitude_max": 1_000.0},
        "limits": {"memory_mib": 64, "runtime_s": 60, "output_mib": 1},
        "verifiers": verifiers(),
    });
    let changes = json!({
        "data": [{"name": "note", "from": {"inline": four}}],
        "verification": [{"method": "check", "module": module}],
    });
    let echo = platform.push_echo().await;
    let definition = echo_definition(&echo, json!({"copy": ["note"]}), changes);
    let quote = platform.requester.quote_task(&definition).await.unwrap();
    assert_eq!(quote.expected_fee, (RUN + TWO_VERIFIERS).to_string());
    let task = platform.requester.submit_task(&definition, None).await;
    task.unwrap().id
}

/// Runs once its verifiers are at work; answers their task.
async fn inspected(platform: &TestPlatform, task: &str) -> String {
    let inspecting = |task: &Task| task.state == "inspecting";
    let task = platform.task_when(task, "inspected", inspecting).await;
    task.inspections[0].by.clone()
}

pub(crate) fn nodes(task: &Task) -> Vec<&str> {
    task.assignments.iter().map(|a| a.node.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_verifiers_run_a_check_module_and_the_verdict_is_theirs() {
    let mut platform = platform().await;
    let _nodes = [
        honest(&mut platform).await,
        honest(&mut platform).await,
        honest(&mut platform).await,
    ];
    let before = wealth(&platform.requester).await;
    // 12.08 and 3.4 * 10^38.
    for (four, state) in [("AAAA", "settled"), ("\u{7f}\u{7f}\u{7f}\u{7f}", "unmet")] {
        let id = checked(&platform, four).await;
        let task = platform.ended(&id).await;
        assert_eq!(task.state, state, "{task:#?}");
        let verdict = task.verdict.as_ref().unwrap();
        let [check] = &verdict.checks[..] else {
            panic!("{verdict:?}");
        };
        assert_eq!(check.passed, state == "settled", "{check:?}");
        let look = platform.ended(&task.inspections[0].by).await;
        assert_eq!(look.inspects.as_deref(), Some(id.as_str()));
        assert_eq!(look.state, "settled");
        assert_eq!(nodes(&look).len(), 2);
        assert!(!nodes(&look).contains(&nodes(&task)[0]));
        let said = platform.requester.task_result(&look.id).await.unwrap();
        assert_eq!(said.result, json!(state == "settled"));
        let shown = platform.aevir(&["task", "show", &id]).unwrap();
        assert!(shown.contains("verifiers"), "{shown}");
        // An audit runs the check again.
        let file = platform.folder().join(format!("{state}.ndjson"));
        let (file, admin) = (file.to_str().unwrap(), platform.admin_key());
        platform
            .aevir_with(&admin, &["log", "export", file])
            .unwrap();
        let again = platform.aevir(&["audit", "--file", file, "--reexecute", &look.id]);
        let again = again.unwrap();
        assert!(again.contains("equal, with"), "{again}");
    }
    let paid = before - wealth(&platform.requester).await;
    assert_eq!(
        paid,
        2 * (RUN + TWO_VERIFIERS),
        "an impossible check is paid, too"
    );
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheating_verifier_changes_no_verdict_and_pays_for_its_word() {
    let mut platform = platform().await;
    let _runner = honest(&mut platform).await;
    let cheat = cheat(&platform).await;
    let id = checked(&platform, "AAAA").await;
    let look = inspected(&platform, &id).await;
    cheat.appear().await;
    let lying = cheat.clone();
    let lie = tokio::spawn(async move { lying.work(&Outcome::of(json!(false))).await });
    let sealed = |t: &Task| t.assignments.iter().any(|a| a.state == "committed");
    platform
        .task_when(&look, "sealed by the cheat", sealed)
        .await;
    let honest = [honest(&mut platform).await, honest(&mut platform).await];
    let task = platform.ended(&id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    assert_eq!(lie.await.unwrap().task, look);
    let look = platform.ended(&look).await;
    let of = |node: &str| look.assignments.iter().find(|a| a.node == node).unwrap();
    assert_eq!(of(&cheat.id).state, "refused");
    assert_eq!(staked(&cheat).await, STAKE - LOCKED, "its first lie");
    assert_eq!(wealth(&cheat.owner).await, 0);
    for node in &honest {
        assert_eq!(of(&node.id).state, "accepted");
        assert_eq!(wealth(&node.owner).await, FEE);
    }
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_verifiers_are_replaced_and_earn_nothing() {
    let mut platform = platform().await;
    let _runner = honest(&mut platform).await;
    let silent = cheat(&platform).await;
    let id = checked(&platform, "AAAA").await;
    let look = inspected(&platform, &id).await;
    silent.appear().await;
    let lease = silent.lease().await;
    assert_eq!(lease.task, look);
    silent.client.start(&lease.assignment).await.unwrap();
    let _honest = [honest(&mut platform).await, honest(&mut platform).await];
    let lost = |t: &Task| t.assignments.iter().any(|a| a.state == "lost");
    platform.task_when(&look, "lost", lost).await;
    let task = platform.ended(&id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    assert_eq!(wealth(&silent.owner).await, 0);
    let records = silent.client.node(&silent.id).await.unwrap().records;
    let record = records.values().next().unwrap();
    assert_ne!(record.classes["cpu"].bad_thousandths, 0, "{record:?}");
    explained(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn third_parties_refute_a_made_up_result_and_the_requester_reads_theirs() {
    let mut platform = platform().await;
    let cheat = cheat(&platform).await;
    cheat.appear().await;
    let before = wealth(&platform.requester).await;
    let attestation =
        json!({"verification": [{"method": "attestation", "verifiers": verifiers()}]});
    let task = platform.echo(json!({"message": 7}), attestation).await;
    let lease = cheat.work(&Outcome::of(json!("made up"))).await;
    assert_eq!(lease.task, task.id);
    let look = inspected(&platform, &task.id).await;
    let _honest = [honest(&mut platform).await, honest(&mut platform).await];
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "inconclusive", "{task:#?}");
    assert_eq!(task.inspections[0].state, "failed");
    assert_eq!(task.assignments[0].state, "refused");
    assert_eq!(wealth(&cheat.owner).await, 0);
    let right = platform.requester.task_result(&look).await.unwrap();
    assert_eq!(right.result["params"]["message"], 7);
    assert_eq!(before - wealth(&platform.requester).await, TWO_VERIFIERS);
    explained(&platform).await;
}
