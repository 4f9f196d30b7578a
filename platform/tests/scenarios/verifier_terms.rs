//! Who is drawn to look at a result, when, and on which terms.

use aevir_platform::{
    amount::Amount,
    command::Command,
    policy::{Market, Policy},
    schedule::{refusal, why},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    verifiers::{AEV, LOCKED, attested, checked, finished, inspected, judged, look, truth, world},
    world::{World, labels},
};

/// A reveal that never comes does not stop the verifiers, and comes too late once they are at work.
#[test]
fn verifiers_are_called_when_time_closes_the_round() {
    let (mut w, _) = world(6);
    let sampling = json!({"method": "sampling", "replicas": 3, "quorum": 2, "initial": 3});
    let check = checked()["verification"][0].clone();
    let task = w.task(json!({"verification": [sampling, check]}));
    let mut runs = Vec::new();
    while w.phase(task) != "verifying" {
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        let run = w.run(assignment, truth(node), &[]);
        w.commit(&run);
        runs.push(run);
    }
    w.reveal(&runs[0]);
    w.reveal(&runs[1]);
    w.later(30_000);
    let events = w.ok(Command::Tick);
    // What was closed until then is opened first.
    let opening = [
        "assignment.revealed",
        "assignment.revealed",
        "task.inspection_opened",
    ];
    assert_eq!(labels(&events)[..3], opening);
    let late = crate::world::reveal_command(&runs[2]);
    assert_eq!(w.refused(late), "lease-ended");
    w.finish(look(&w, task), |_| json!(true));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(
        w.state.tasks[&task].verdict.as_ref().unwrap().refused.len(),
        1
    );
    finished(&mut w, "time-closes");
}

#[test]
fn only_who_can_pledge_for_a_word_is_drawn_to_give_one() {
    let (mut w, _) = world(1);
    let poor = w.node("poor");
    let rich = w.node("rich");
    for (node, amount) in [(poor, LOCKED - 1), (rich, LOCKED)] {
        let account = w.owner(node);
        w.deposit(account, amount);
        let amount = Amount(amount);
        w.ok(Command::Stake {
            account,
            node,
            amount,
        });
    }
    [poor, rich]
        .iter()
        .for_each(|n| drop(w.ok(Command::DrainNode { node: *n })));
    let task = inspected(&mut w, checked());
    [poor, rich]
        .iter()
        .for_each(|n| drop(w.ok(Command::ResumeNode { node: *n })));
    let leased = w.plan();
    assert_eq!(leased.iter().map(|l| l.2).collect::<Vec<_>>(), [rich]);
    let why = why(&w.state, &w.state.tasks[&look(&w, task)], w.now);
    assert!(why.awaits.len() == 1);
    let policy = w.state.policy_of(&w.state.tasks[&task]);
    assert!(policy.verification.verifiers_staked);
    let refused = refusal(
        &w.state,
        &w.state.tasks[&look(&w, task)],
        &w.state.nodes[&poor],
        w.now,
    );
    assert_eq!(refused.map(|r| r.code()), Some("unstaked"));
    w.check_replay();
}

/// In a market of one owner nodes check one another without stake, and a node that ran the task may, too.
#[test]
fn in_a_private_market_verifiers_pledge_nothing() {
    let mut w = World::with_policy(Policy {
        market: Market::Private,
        ..crate::world::immediate()
    });
    w.push_check();
    for name in ["a", "b"] {
        w.node(name);
    }
    let task = inspected(&mut w, checked());
    w.finish(look(&w, task), |_| json!(true));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    w.check_replay();
    documents_agree(&w, "private-verifiers");
}

#[test]
fn a_task_of_verifiers_is_nobodys_to_call_off_or_doubt() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    let inspection = look(&w, task);
    let requester = w.requester;
    let cancel = |task| Command::CancelTask { requester, task };
    assert_eq!(w.refused(cancel(inspection)), "inspection-task");
    assert_eq!(w.refused(cancel(task)), "task-verifying");
    w.finish(inspection, |_| json!(true));
    let dispute = Command::Dispute {
        account: requester,
        task: inspection,
        reason: "no".into(),
        bond: Amount(10 * AEV),
    };
    assert_eq!(w.refused(dispute), "inspection-task");
}

#[test]
fn what_verifiers_are_to_do_is_checked_at_submission() {
    let (mut w, _) = world(0);
    let of = |path: &str, value: Value| {
        let mut methods = checked()["verification"].clone();
        *methods.pointer_mut(path).unwrap() = value;
        json!({"verification": methods})
    };
    let other = w.module.to_string();
    for (path, value, code, pointer) in [
        ("/0/module/module", json!(other), "wrong-world", ""),
        (
            "/0/module/module",
            json!("0".repeat(64)),
            "unknown-module",
            "",
        ),
        (
            "/0/module/verifiers/count",
            json!(1),
            "definition-invalid",
            "/verification/0/module/verifiers/count",
        ),
        (
            "/0/module/verifiers/count",
            json!(10),
            "definition-invalid",
            "/verification/0/module/verifiers/count",
        ),
        (
            "/0/module/verifiers/quorum",
            json!(1),
            "definition-invalid",
            "/verification/0/module/verifiers/quorum",
        ),
        (
            "/0/module/verifiers/quorum",
            json!(4),
            "definition-invalid",
            "/verification/0/module/verifiers/quorum",
        ),
        (
            "/0/module/verifiers/fee",
            json!("-1"),
            "definition-invalid",
            "/verification/0/module/verifiers/fee",
        ),
        (
            "/0/module/verifiers/fee",
            json!("9000000000"),
            "budget-too-small",
            "",
        ),
        (
            "/0/module/params",
            json!("x".repeat(17_000)),
            "definition-invalid",
            "/verification/0/module/params",
        ),
    ] {
        let command = w.submission(of(path, value));
        let error = w.submit(command).unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
        assert!(error.to_string().contains(pointer), "{error}");
    }
    let attestation = attested()["verification"][0].clone();
    let twice = w.submission(json!({"verification": [attestation, attestation]}));
    assert_eq!(w.refused(twice), "definition-invalid");
    let fast = json!({"verification": [attestation], "runtime": "fast/1"});
    let fast = w.submission(fast);
    assert_eq!(
        w.refused(fast),
        "definition-invalid",
        "what runs again must be reproducible"
    );
}
