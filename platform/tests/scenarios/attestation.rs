//! Third parties run a task again before its verdict, and methods combine.

use aevir_platform::{
    amount::Amount,
    command::Command,
    event::{Event, InspectionOutcome, Verdict},
    ids::TaskId,
    ledger::LedgerAccount,
    schedule::{Draw, Purpose},
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, adaptive, staked},
    sample::documents_agree,
    verifiers::{
        AEV, TWO, VERIFIERS, attested, checked, finished, inspected, judged, look, looks, outcome,
        pending, ran, stake, truth, world,
    },
    vouching::vouched,
    world::{WINDOW_MS, World, labels, recompute},
};

fn both() -> Value {
    let check = checked()["verification"][0].clone();
    let attestation = attested()["verification"][0].clone();
    let sampling = json!({"method": "sampling", "replicas": 3, "quorum": 2});
    json!({"verification": [check, sampling, attestation]})
}

#[test]
fn third_parties_attest_a_result_by_running_it_again() {
    let (mut w, _) = world(5);
    let before = w.available(w.requester);
    let task = inspected(&mut w, attested());
    let inspection = look(&w, task);
    let of = &w.state.tasks[&inspection];
    assert_eq!(of.definition.module, w.module);
    assert_eq!(of.seed, w.state.tasks[&task].seed);
    w.finish(inspection, truth);
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(before - w.available(w.requester), AEV + 50_000 + TWO);
    finished(&mut w, "attested");
}

/// Whatever the fee: who may cost a node its stake risks as much, and names without any are not drawn.
#[test]
fn who_attests_pledges_as_much_as_he_may_take() {
    for fee in ["1", "2000000"] {
        let (mut w, nodes) = world(4);
        let poor = ["x", "y", "z"].map(|name| w.node(name));
        let verifiers = json!({"count": 3, "quorum": 2, "fee": fee});
        let attested = json!({"verification": [{"method": "attestation", "verifiers": verifiers}]});
        for node in poor {
            w.ok(Command::DrainNode { node });
        }
        let task = inspected(&mut w, attested);
        for node in poor {
            w.ok(Command::ResumeNode { node });
        }
        let look = look(&w, task);
        w.plan();
        let runs = w.state.tasks[&look].assignments.values();
        let pledged: Vec<_> = runs.map(|run| (run.node, run.stake.0)).collect();
        assert_eq!(pledged.len(), 1, "one after the other");
        let (node, locked) = pledged[0];
        assert!(nodes.contains(&node), "names without stake judge nobody");
        let risk = AEV.max(fee.parse().unwrap());
        assert_eq!(locked, 3 * risk);
        w.finish(look, truth);
        judged(&mut w, task);
        assert_eq!(w.phase(task), "settled");
        finished(&mut w, &format!("pledged-{fee}"));
    }
}

#[test]
fn a_result_that_third_parties_refute_is_nobodys_and_its_maker_pays_from_the_second_on() {
    let (mut w, nodes) = world(4);
    let cheat = nodes[0];
    for n in 0..2 {
        // Its back-off is over, and what it was paid has matured.
        w.later(60_000);
        w.ok(Command::Tick);
        let before = w.available(w.requester);
        let task = w.task(attested());
        nodes[1..]
            .iter()
            .for_each(|n| drop(w.ok(Command::DrainNode { node: *n })));
        w.finish(task, |_| json!({"n": "lie"}));
        nodes[1..]
            .iter()
            .for_each(|n| drop(w.ok(Command::ResumeNode { node: *n })));
        w.finish(look(&w, task), truth);
        assert_eq!(outcome(&w, task), Some(InspectionOutcome::Failed));
        let events = judged(&mut w, task);
        assert_eq!(w.phase(task), "inconclusive");
        let verdict = w.state.tasks[&task].verdict.clone().unwrap();
        assert_eq!(verdict.verdict, Verdict::Inconclusive);
        assert_eq!(verdict.refused.len(), 1);
        assert!(!w.state.tasks[&task].result_is_open());
        assert_eq!(
            before - w.available(w.requester),
            TWO,
            "only the verifiers are paid"
        );
        assert_eq!(labels(&events).contains(&"node.slashed"), n == 1);
    }
    assert_eq!(stake(&w, cheat), 17 * AEV);
    assert_eq!(w.state.nodes[&cheat].pledges.strikes, 2);
    assert_eq!(pending(&w, cheat), 0);
    finished(&mut w, "refuted");
}

/// A lone result of which part of the refund would wait to mature: refuted it never does, so that nothing waits.
#[test]
fn of_a_lone_result_that_third_parties_refute_nothing_is_held() {
    let mut w = World::with_policy(vouched(NEVER));
    let nodes = ["a", "b", "c", "d"].map(|name| staked(&mut w, name));
    let methods = [
        &adaptive()["verification"][0],
        &attested()["verification"][0],
    ];
    for (result, is_held) in [("truth", true), ("lie", false)] {
        let before = w.available(w.requester);
        let task = w.task(json!({"verification": methods}));
        nodes[1..]
            .iter()
            .for_each(|n| drop(w.ok(Command::DrainNode { node: *n })));
        w.finish(task, |_| json!({"n": result}));
        nodes[1..]
            .iter()
            .for_each(|n| drop(w.ok(Command::ResumeNode { node: *n })));
        w.finish(look(&w, task), truth);
        judged(&mut w, task);
        let held = w.state.tasks[&task].settlement.as_ref().map(|s| s.held.0);
        let waiting = LedgerAccount::Pending(w.requester);
        let waits = w.state.ledger.balance(waiting).0;
        assert_eq!(held, Some(if is_held { 2 * AEV + 3_000 } else { 0 }));
        if !is_held {
            assert_eq!(w.phase(task), "inconclusive");
            assert_eq!(before - w.available(w.requester) - waits, TWO);
        }
        w.later(WINDOW_MS.into());
        while w.state.next_due().is_some_and(|due| due <= w.now) {
            w.ok(Command::Tick);
        }
        while let Some(again) = w
            .state
            .tasks
            .keys()
            .find(|t| !w.state.tasks[t].phase.is_final())
        {
            w.finish(*again, truth);
            w.ok(Command::Tick);
        }
    }
    let waiting = LedgerAccount::Pending(w.requester);
    assert_eq!(w.state.ledger.balance(waiting), Amount::ZERO);
    w.check_replay();
    documents_agree(&w, "refuted-alone");
}

/// Two lie, one says what third parties find: who differed from a quorum that is refuted is not paid, and not blamed either.
#[test]
fn a_quorum_that_is_refuted_shows_nobody_else_to_be_wrong() {
    let (mut w, nodes) = world(6);
    let sampling = json!({"method": "sampling", "replicas": 3, "quorum": 2, "initial": 3});
    let methods = [sampling, attested()["verification"][0].clone()];
    let task = w.task(json!({"verification": methods}));
    let others = &nodes[3..];
    others
        .iter()
        .for_each(|n| drop(w.ok(Command::DrainNode { node: *n })));
    let honest = nodes[0];
    w.finish(
        task,
        |node| json!({"n": if node == honest { "truth" } else { "lie" }}),
    );
    others
        .iter()
        .for_each(|n| drop(w.ok(Command::ResumeNode { node: *n })));
    w.finish(look(&w, task), truth);
    assert_eq!(outcome(&w, task), Some(InspectionOutcome::Failed));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "inconclusive");
    let strikes = |node| w.state.nodes[node].pledges.strikes;
    assert_eq!(
        nodes[..3].iter().map(strikes).collect::<Vec<_>>(),
        [0, 1, 1]
    );
    let record = w.state.nodes[&honest].records.values();
    assert!(
        record
            .flat_map(|r| r.tallies.values())
            .all(|tally| tally.bad == 0)
    );
    finished(&mut w, "refuted-quorum");
}

#[test]
fn who_brought_nothing_wrong_is_paid_where_third_parties_do_not_agree() {
    let (mut w, _) = world(5);
    let task = inspected(&mut w, attested());
    let inspection = look(&w, task);
    w.finish(inspection, |node| json!({"n": node.to_string()}));
    assert_eq!(w.phase(inspection), "inconclusive");
    assert_eq!(outcome(&w, task), Some(InspectionOutcome::Undecided));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "unmet");
    assert_eq!(pending(&w, ran(&w, task)[0]), AEV);
    finished(&mut w, "not-attested");
}

#[test]
fn methods_combine_and_the_verdict_waits_for_all_of_them() {
    let (mut w, _) = world(6);
    let before = w.available(w.requester);
    let task = inspected(&mut w, both());
    let escrow = 3 * AEV + 150_000 + 3_000 + 2 * VERIFIERS;
    assert_eq!(before - w.available(w.requester), escrow);
    let by: Vec<TaskId> = looks(&w, task).iter().map(|i| i.by).collect();
    assert_eq!(by.len(), 2);
    w.finish(by[1], truth);
    assert_eq!(w.ok(Command::Tick), vec![], "one is still at work");
    w.finish(by[0], |_| json!(true));
    judged(&mut w, task);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(
        w.state.tasks[&task].verdict.as_ref().unwrap().checks.len(),
        2
    );
    assert_eq!(
        before - w.available(w.requester),
        2 * AEV + 100_000 + 2 * TWO
    );
    finished(&mut w, "combined");
}

/// The leases of verifiers in the log, by their places in it.
fn elections(w: &World) -> Vec<(usize, Draw)> {
    let leases = w.log.iter().enumerate();
    let leases = leases.filter_map(|(at, recorded)| match &recorded.event {
        Event::AssignmentLeased(lease) => Some((at, lease.draw.clone()?)),
        _ => None,
    });
    leases
        .filter(|(_, draw)| draw.purpose == Purpose::Verifier)
        .collect()
}

#[test]
fn verifiers_are_elected_by_points_and_anybody_can_recompute_it() {
    let (mut w, nodes) = world(6);
    // One owner has ten times the points at which half of the chance is reached.
    let rich = nodes[5];
    let paid = w.task(json!({"economics": {"budget": "900000000", "pricing": {"mode": "fixed", "price": "400000000"}}}));
    nodes[..5]
        .iter()
        .for_each(|n| drop(w.ok(Command::DrainNode { node: *n })));
    w.finish(paid, truth);
    w.later(10_000);
    w.ok(Command::Tick);
    assert_eq!(w.compute_points(w.owner(rich)), 10_000);
    w.ok(Command::DrainNode { node: rich });
    let (mut of_rich, mut words) = (0, 0);
    nodes[..5]
        .iter()
        .for_each(|n| drop(w.ok(Command::ResumeNode { node: *n })));
    for _ in 0..12 {
        // What was pledged for the look before is free.
        w.later(WINDOW_MS.into());
        w.ok(Command::Tick);
        let task = inspected(&mut w, attested());
        w.ok(Command::ResumeNode { node: rich });
        w.finish(look(&w, task), truth);
        w.ok(Command::DrainNode { node: rich });
        judged(&mut w, task);
        words += ran(&w, look(&w, task)).len();
        of_rich += usize::from(ran(&w, look(&w, task)).contains(&rich));
    }
    assert_eq!(words, 24);
    // Drawn alike it would be two of five: 4.8 of 12.
    assert!(of_rich >= 9, "{of_rich} of 12");
    let elected = elections(&w);
    assert_eq!(elected.len(), 24);
    let passed = elected.iter().rfind(|(_, draw)| !draw.passed.is_empty());
    let (at, _) = *passed.expect("somebody without points came up");
    w.later(3_600_000);
    w.ok(Command::Tick);
    w.ok(Command::Tick);
    finished(&mut w, "elected");
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!((counts.draws, counts.draws_open), (37, 0));
    // Who was passed over, and is not named, is missed once the secret is told.
    if let Event::AssignmentLeased(lease) = &mut w.log[at].event {
        lease.draw.as_mut().unwrap().passed.clear();
    }
    let fault = recompute(&w.log).unwrap_err();
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("was not drawn"), "{fault}");
}
