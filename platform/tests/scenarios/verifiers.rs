//! Results that verifiers look at before their verdict: check modules judge them. What third parties attest is in `attestation`.

use std::cell::OnceCell;

use aevir_platform::{
    CHECKED_DEFINITION, CHECKED_INPUT, CHECKED_RESULT,
    amount::Amount,
    checked_definition_bytes,
    command::Command,
    digest::Digest,
    event::{Event, InspectionOutcome, Track},
    ids::{NodeId, TaskId},
    ledger::LedgerAccount,
    policy::{Policy, SettlementPolicy},
    state::Inspection,
};
use serde_json::{Value, json};

use crate::{
    adaptive::staked,
    sample::documents_agree,
    world::{WINDOW_MS, World, labels},
};

pub const AEV: i64 = 1_000_000;
/// What a verifier earns.
pub const FEE: i64 = 200_000;
/// What a verifier locks for its word: three times its fee.
pub const LOCKED: i64 = 3 * FEE;
/// What the verifiers of one method may cost: three of them, the platform's twentieth, and three attempts.
pub const VERIFIERS: i64 = 3 * FEE + 30_000 + 3_000;
/// What two of them cost.
pub const TWO: i64 = 2 * FEE + 20_000;
/// How long a policy of old tests gives verifiers, in ms.
const INSPECTION_MS: i64 = 21_600_000;

/// A window of ten seconds, and so many staked nodes of as many owners.
pub fn world(nodes: usize) -> (World, Vec<NodeId>) {
    let mut policy = Policy {
        settlement: SettlementPolicy {
            window_ms: WINDOW_MS,
        },
        ..Policy::default()
    };
    // A newcomer's first refused result is free, too.
    policy.stake.free_after = 0;
    let mut w = World::with_policy(policy);
    w.push_check();
    let names = ["a", "b", "c", "d", "e", "f"];
    let nodes = names[..nodes].iter().map(|name| staked(&mut w, name));
    let nodes = nodes.collect();
    (w, nodes)
}

pub fn verifiers() -> Value {
    json!({"count": 3, "quorum": 2, "fee": FEE.to_string()})
}

pub fn checked() -> Value {
    let module = json!({"module": World::check_module().to_string(), "params": {"most": 1}, "verifiers": verifiers()});
    json!({"verification": [{"method": "check", "module": module}]})
}

pub fn attested() -> Value {
    json!({"verification": [{"method": "attestation", "verifiers": verifiers()}]})
}

pub fn truth(_: NodeId) -> Value {
    json!({"n": "truth"})
}

pub fn looks(w: &World, task: TaskId) -> &[Inspection] {
    &w.state.tasks[&task].inspections
}

pub fn look(w: &World, task: TaskId) -> TaskId {
    looks(w, task)[0].by
}

pub fn outcome(w: &World, task: TaskId) -> Option<InspectionOutcome> {
    looks(w, task)[0].outcome
}

pub fn ran(w: &World, task: TaskId) -> Vec<NodeId> {
    let runs = w.state.tasks[&task].assignments.values();
    runs.map(|a| a.node).collect()
}

pub fn accepted(w: &World, task: TaskId) -> Vec<NodeId> {
    let task = &w.state.tasks[&task];
    let accepted = task.verdict.iter().flat_map(|v| &v.accepted);
    accepted
        .map(|id| task.assignments.get(id).unwrap().node)
        .collect()
}

pub fn stake(w: &World, node: NodeId) -> i64 {
    w.state.stake(node).0
}

pub fn pending(w: &World, node: NodeId) -> i64 {
    let owner = w.owner(node);
    w.state.ledger.balance(LedgerAccount::Pending(owner)).0
}

/// The task was run, and its verifiers are at work.
pub fn inspected(w: &mut World, overrides: Value) -> TaskId {
    let task = w.task(overrides);
    w.finish(task, truth);
    assert_eq!(w.phase(task), "inspecting");
    task
}

/// The verdict, by a tick of its own.
pub fn judged(w: &mut World, task: TaskId) -> Vec<Event> {
    assert_eq!(w.phase(task), "inspecting", "it waits for a tick");
    assert_eq!(w.state.next_due(), Some(Default::default()), "at once");
    w.ok(Command::Tick)
}

/// After its window, whatever became of it, no result is open; and both implementations agree on all of it.
pub fn finished(w: &mut World, name: &str) {
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    w.ok(Command::Tick);
    for node in w.state.nodes.values() {
        assert_eq!(node.pledges.locked, Amount::ZERO);
        assert!(node.sealed.is_empty());
    }
    for task in w.state.tasks.keys() {
        let escrow = LedgerAccount::Escrow(*task);
        assert_eq!(w.state.ledger.balance(escrow), Amount::ZERO);
    }
    w.check_replay();
    documents_agree(w, name);
}

#[test]
fn a_check_module_is_run_by_drawn_verifiers_and_its_verdict_follows() {
    let (mut w, _) = world(4);
    let before = w.available(w.requester);
    let task = w.task(json!({"verification": checked()["verification"], "data": [{"name": "text", "from": {"inline": "abc"}}]}));
    let all = AEV + 50_000 + 3_000 + VERIFIERS;
    assert_eq!(
        before - w.available(w.requester),
        all,
        "the price of all of it"
    );
    w.plan();
    let runner = ran(&w, task)[0];
    let assignment = w.state.tasks[&task].active().next().unwrap().id;
    w.start(assignment);
    let run = w.run(assignment, truth(runner), &[]);
    w.commit(&run);
    let events = w.reveal(&run);
    assert_eq!(
        labels(&events),
        [
            "assignment.revealed",
            "task.inspection_opened",
            "task.created",
            "ledger.posted",
            "task.queued"
        ]
    );
    assert!(
        !w.state.tasks[&task].result_is_open(),
        "nothing is shown yet"
    );
    let look = look(&w, task);
    let of = &w.state.tasks[&look];
    let names: Vec<&str> = of.inputs.iter().map(|i| i.name.as_str()).collect();
    let input = format!("{CHECKED_INPUT}text");
    assert_eq!(names, [CHECKED_DEFINITION, CHECKED_RESULT, "out", &input]);
    let definition = checked_definition_bytes(&w.state.tasks[&task].definition);
    assert_eq!(of.inputs[0].digest, Digest::of(&definition));
    assert_eq!(of.inputs[1].digest, run.report.result.digest);
    assert_eq!(of.definition.module, World::check_module());
    assert_eq!(of.escrow, Amount(VERIFIERS));

    w.finish(look, |_| json!(true));
    assert_eq!(
        (w.phase(look), outcome(&w, task)),
        ("settled", Some(InspectionOutcome::Passed))
    );
    let verifying = ran(&w, look);
    assert_eq!(verifying.len(), 2, "two agree, so that no third is drawn");
    assert!(!verifying.contains(&runner), "nobody checks himself");
    let events = judged(&mut w, task);
    assert_eq!(labels(&events)[0], "task.verified");
    assert_eq!(w.phase(task), "settled");
    let verdict = w.state.tasks[&task].verdict.clone().unwrap();
    assert_eq!(verdict.checks.len(), 1);
    assert!(verdict.checks[0].passed && verdict.checks[0].check.starts_with("module "));
    assert_eq!(before - w.available(w.requester), AEV + 50_000 + TWO);
    assert_eq!(pending(&w, runner), AEV);
    verifying
        .iter()
        .for_each(|node| assert_eq!(pending(&w, *node), FEE));
    finished(&mut w, "checked");
    for node in verifying {
        let owner = w.owner(node);
        assert_eq!(
            w.state.points(owner, Track::Verification),
            10,
            "of 20,000 for the platform"
        );
        assert_eq!(w.compute_points(owner), 0);
    }
}

#[test]
fn what_the_verifiers_refuse_is_paid_for_and_unmet() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    w.finish(look(&w, task), |_| json!(false));
    assert_eq!(outcome(&w, task), Some(InspectionOutcome::Failed));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "unmet");
    assert!(w.state.tasks[&task].result_is_open());
    assert_eq!(
        pending(&w, ran(&w, task)[0]),
        AEV,
        "an impossible check computes nothing for free"
    );
    finished(&mut w, "check-refuses");
}

/// Its own words differ, or its module fails on everybody: who computed is paid all the same.
#[test]
fn a_check_that_nobody_decides_computes_nothing_for_free() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    let inspection = look(&w, task);
    while w.phase(inspection) != "failed" {
        let leased = w.plan();
        let (_, assignment, node) = leased[0];
        w.start(assignment);
        w.ok(Command::Fail {
            node,
            assignment,
            class: aevir_platform::command::FailureClass::Trap,
            message: "unreachable".into(),
        });
    }
    assert_eq!(outcome(&w, task), Some(InspectionOutcome::Undecided));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "unmet");
    assert_eq!(pending(&w, ran(&w, task)[0]), AEV);
    finished(&mut w, "check-fails");
}

#[test]
fn verifiers_that_never_come_leave_the_result_unmet_and_their_fees_to_the_requester() {
    let (mut w, nodes) = world(1);
    let before = w.available(w.requester);
    let task = inspected(&mut w, checked());
    assert!(w.plan().is_empty(), "nobody checks himself");
    w.later(INSPECTION_MS);
    let mut ticks = 0;
    while w.phase(task) == "inspecting" {
        w.ok(Command::Tick);
        ticks += 1;
        assert!(ticks < 5);
    }
    assert_eq!(w.phase(look(&w, task)), "expired");
    assert_eq!(w.phase(task), "unmet");
    assert_eq!(before - w.available(w.requester), AEV + 50_000);
    assert_eq!(pending(&w, nodes[0]), AEV);
    finished(&mut w, "no-verifiers");
}

#[test]
fn a_verifier_that_says_otherwise_is_refused_and_pays_for_its_first_word_already() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    let inspection = look(&w, task);
    let first = OnceCell::new();
    w.finish(inspection, |node| {
        json!(*first.get_or_init(|| node) != node)
    });
    let liar = *first.get().unwrap();
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    assert!(!accepted(&w, inspection).contains(&liar));
    assert_eq!(stake(&w, liar), 20 * AEV - LOCKED);
    assert_eq!(pending(&w, liar), 0);
    assert_eq!(w.state.nodes[&liar].pledges.strikes, 1);
    finished(&mut w, "lying-verifier");
}

/// A `true` without a run has not the fuel of one.
#[test]
fn a_word_that_was_not_computed_is_found_by_its_fuel() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    let inspection = look(&w, task);
    let (_, first, lazy) = w.plan()[0];
    w.start(first);
    while w.phase(inspection) != "settled" {
        for (_, assignment, _) in w.plan() {
            w.start(assignment);
        }
        let runs = w.state.tasks[&inspection].active();
        let runs: Vec<_> = runs.map(|a| (a.id, a.node)).collect();
        for (assignment, node) in runs {
            let mut run = w.run(assignment, json!(true), &[]);
            run.report.usage.fuel.0 -= u64::from(node == lazy);
            w.commit(&run);
        }
        if w.phase(inspection) == "verifying" {
            let sealed = w.state.tasks[&inspection].assignments.values();
            let sealed = sealed.filter(|a| a.state_name() == "committed");
            let sealed: Vec<_> = sealed.map(|a| (a.id, a.node)).collect();
            for (assignment, node) in sealed {
                let mut run = w.run(assignment, json!(true), &[]);
                run.report.usage.fuel.0 -= u64::from(node == lazy);
                w.reveal(&run);
            }
        }
    }
    assert!(!accepted(&w, inspection).contains(&lazy));
    assert_eq!(stake(&w, lazy), 20 * AEV - LOCKED);
    judged(&mut w, task);
    finished(&mut w, "lazy-verifier");
}

#[test]
fn a_verifier_that_keeps_its_word_back_earns_nothing_and_counts_as_wrong() {
    let (mut w, _) = world(4);
    let task = inspected(&mut w, checked());
    let inspection = look(&w, task);
    let mut runs = Vec::new();
    while w.phase(inspection) != "verifying" {
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let run = w.run(assignment, json!(true), &[]);
        w.commit(&run);
        runs.push(run);
    }
    w.reveal(&runs[0]);
    let silent = runs[1].report.node;
    w.later(30_000);
    w.ok(Command::Tick);
    assert_eq!(w.phase(inspection), "running", "one more is drawn");
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let third = w.run(assignment, json!(true), &[]);
    w.commit(&third);
    w.reveal(&third);
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    assert!(!accepted(&w, inspection).contains(&silent));
    assert_eq!(pending(&w, silent), 0);
    let (_, bad) = w.outcomes(silent);
    assert_eq!(bad, 1_000);
    finished(&mut w, "silent-verifier");
}

#[test]
fn a_result_that_fails_what_costs_nothing_is_not_looked_at() {
    let (mut w, _) = world(3);
    let mut methods = checked()["verification"].as_array().unwrap().clone();
    methods.push(json!({"method": "check", "bounds": [{"metric": "m", "at_least": "1"}]}));
    let task = w.task(json!({"verification": methods}));
    w.finish(task, truth);
    assert_eq!(w.phase(task), "unmet");
    assert!(looks(&w, task).is_empty());
    finished(&mut w, "bound-first");
}
