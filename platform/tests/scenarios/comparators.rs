//! Results that are not equal, and agree all the same: drawn verifiers compare two at a time, while what they compare stays closed.

use aevir_events::{Event as _, LeaderSecret};
use aevir_platform::{
    amount::Amount,
    command::{Command, FailureClass},
    event::{Event, InspectionOutcome, RefusalReason},
    ids::{NodeId, TaskId},
    inputs_of,
};
use serde_json::{Value, json};

use crate::{
    comparing::{Play, compared, comparisons},
    sample::documents_agree,
    verifiers::{AEV, FEE, TWO, VERIFIERS, checked, finished, pending, ran, stake, world},
    world::{World, labels},
};

/// How long the policy gives the verifiers of a pair, in ms.
const INSPECTION_MS: i64 = 21_600_000;

/// Everything that the log holds, as its readers see it.
fn log(w: &World) -> String {
    let all = w.log.iter().map(|r| r.event.to_data().to_string());
    all.collect()
}

/// The digest of what a replica says.
fn digest(number: i64) -> String {
    aevir_platform::digest::Digest::of(number.to_string().as_bytes()).to_string()
}

#[test]
fn equal_results_need_no_comparison() {
    let (mut w, _) = world(5);
    let before = w.available(w.requester);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let locked = 3 * AEV + 150_000 + 3_000 + 3 * VERIFIERS;
    assert_eq!(
        before - w.available(w.requester),
        locked,
        "three pairs at most"
    );
    Play::new(task, &[7, 7]).to_the_end(&mut w);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 0));
    assert_eq!(before - w.available(w.requester), 2 * AEV + 100_000);
    finished(&mut w, "equal");
}

#[test]
fn two_that_differ_and_agree_are_a_quorum() {
    let (mut w, _) = world(5);
    let before = w.available(w.requester);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[71, 72]);
    let events = play.round(&mut w);
    assert_eq!(
        labels(&events),
        [
            "assignment.shown",
            "task.inspection_opened",
            "task.created",
            "ledger.posted",
            "task.queued"
        ]
    );
    // What is compared only the leaders know, and who has a lease for it.
    let look = w.state.tasks[&task].inspections[0].by;
    assert!(w.state.tasks[&look].inputs.is_empty());
    let names = |w: &World, secret: Option<&LeaderSecret>| {
        let inputs = inputs_of(&w.state, &w.state.tasks[&look], secret);
        let names: Vec<String> = inputs.into_iter().map(|i| i.name).collect();
        names
    };
    assert!(names(&w, None).is_empty());
    assert!(names(&w, Some(&LeaderSecret([9; 32]))).is_empty());
    let all = ["a.json", "a/out", "b.json", "b/out"];
    assert_eq!(names(&w, Some(&LeaderSecret(w.secret))), all);
    let [(_, near)] = play.open(&w)[..] else {
        panic!()
    };
    w.finish(look, |_| json!(near));
    assert_eq!(w.phase(look), "settled");
    let said = log(&w);
    assert!([71, 72].iter().all(|n| !said.contains(&digest(*n))));
    let events = w.ok(Command::Tick);
    assert_eq!(
        labels(&events)[..3],
        [
            "assignment.revealed",
            "assignment.revealed",
            "task.verified"
        ]
    );
    assert_eq!(names(&w, None), all, "everybody knows it afterwards");
    assert_eq!((w.phase(task), play.accepted(&w).len()), ("settled", 2));
    assert_eq!(before - w.available(w.requester), 2 * AEV + 100_000 + TWO);
    assert!(ran(&w, look).iter().all(|node| pending(&w, *node) == FEE));
    let took_part = ran(&w, task);
    assert!(ran(&w, look).iter().all(|node| !took_part.contains(node)));
    finished(&mut w, "near");
}

#[test]
fn a_further_replica_goes_to_nobody_who_read_those_before() {
    let (mut w, nodes) = world(6);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[10, 70, 71]);
    play.round(&mut w);
    let [(look, false)] = play.open(&w)[..] else {
        panic!()
    };
    w.finish(look, |_| json!(false));
    let readers = ran(&w, look);
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.extended"]);
    assert!([10, 70].iter().all(|n| !log(&w).contains(&digest(*n))));
    let first = ran(&w, task);
    let third = w.plan()[0];
    let left = nodes
        .iter()
        .filter(|n| !readers.contains(n) && !first.contains(n));
    assert_eq!((third.0, left.count()), (task, 2));
    assert!(!readers.contains(&third.2));
    w.start(third.1);
    let run = w.run(third.1, json!(71), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "inspecting", "it is compared with both");
    play.to_the_end(&mut w);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 3));
    let mut agreed = play.accepted(&w);
    agreed.sort_unstable();
    assert_eq!(agreed, [70, 71]);
    // A comparison shows nobody to be wrong: the third is not paid, and loses nothing.
    assert_eq!(play.refused(&w), [(10, RefusalReason::Apart)]);
    for node in nodes {
        assert_eq!(stake(&w, node), 20 * AEV);
        assert_eq!(w.state.nodes[&node].pledges.strikes, 0);
        assert_eq!(w.outcomes(node).1, 0);
    }
    finished(&mut w, "third-near");
}

/// Agreement does not go on from one to the next: what is in the middle has a quorum, and what is at an end of it has not.
#[test]
fn the_quorum_is_around_one_result() {
    let (mut w, _) = world(6);
    let terms = compared(&mut w, 3, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[8, 7, 6]);
    play.to_the_end(&mut w);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 3));
    let agreed = play.accepted(&w);
    assert_eq!((agreed.len(), agreed[0]), (3, 7));
    finished(&mut w, "middle");
}

/// Who is near what is equal often enough is paid, and not asked about with others.
#[test]
fn whoever_is_near_an_equal_quorum_belongs_to_it() {
    let (mut w, _) = world(6);
    let mut terms = compared(&mut w, 2, 3);
    terms["verification"][0]["initial"] = json!(3);
    let task = w.task(terms);
    let play = Play::new(task, &[8, 7, 7]);
    play.to_the_end(&mut w);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 1));
    assert_eq!(play.accepted(&w), [7, 7, 8]);
    finished(&mut w, "near-equal");
}

#[test]
fn where_nothing_agrees_nobody_is_right() {
    let (mut w, _) = world(6);
    let before = w.available(w.requester);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    Play::new(task, &[1, 5, 9]).to_the_end(&mut w);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("inconclusive", 3));
    assert!(!w.state.tasks[&task].result_is_open());
    assert_eq!(
        before - w.available(w.requester),
        3 * TWO + 3_000,
        "and three attempt fees"
    );
    finished(&mut w, "apart");
}

/// Its first comparison is left without a word.
fn unsaid(w: &mut World, end: impl Fn(&mut World, TaskId)) -> (TaskId, i64) {
    let before = w.available(w.requester);
    let terms = compared(w, 2, 2);
    let task = w.task(terms);
    let play = Play::new(task, &[7, 8]);
    play.round(w);
    let (look, _) = play.open(w)[0];
    end(w, look);
    let look = w.state.tasks[&task].inspections[0].clone();
    assert_eq!(look.outcome, Some(InspectionOutcome::Undecided));
    while w.phase(task) == "inspecting" {
        w.ok(Command::Tick);
    }
    assert_eq!(w.phase(task), "inconclusive");
    (task, before)
}

/// What it says of its failure could be what it compared, and the requester reads it.
#[test]
fn a_comparator_that_fails_on_everybody_shows_its_requester_nothing() {
    let (mut w, _) = world(5);
    let (task, before) = unsaid(&mut w, |w, look| {
        while w.phase(look) != "failed" {
            let (_, assignment, node) = w.plan()[0];
            w.start(assignment);
            w.ok(Command::Fail {
                node,
                assignment,
                class: FailureClass::GuestError,
                message: "it is 7, and the other one 8".into(),
            });
        }
    });
    assert!(!log(&w).contains("it is 7"));
    assert_eq!(
        before - w.available(w.requester),
        3_000 + 2_000,
        "three attempts at it, and the attempt fees of what was compared"
    );
    assert!(!w.state.tasks[&task].result_is_open());
    finished(&mut w, "comparator-fails");
}

#[test]
fn verifiers_that_never_come_say_nothing() {
    let (mut w, _) = world(2);
    let (_, before) = unsaid(&mut w, |w, look| {
        assert!(w.plan().is_empty(), "nobody compares his own");
        w.later(INSPECTION_MS);
        while w.phase(look) != "expired" {
            w.ok(Command::Tick);
        }
    });
    assert_eq!(before - w.available(w.requester), 2_000);
    finished(&mut w, "no-comparers");
}

#[test]
fn verifiers_that_are_split_say_nothing() {
    let (mut w, _) = world(5);
    unsaid(&mut w, |w, look| {
        let mut runs = Vec::new();
        // Two disagree, and the third keeps its word back.
        while !w.state.tasks[&look].phase.is_final() {
            let (_, run, _) = w.plan()[0];
            w.start(run);
            let run = w.run(run, json!(runs.len() == 1), &[]);
            w.commit(&run);
            runs.push(run);
            if w.phase(look) == "verifying" && runs.len() == 2 {
                w.reveal(&runs[0]);
                w.reveal(&runs[1]);
            }
            if runs.len() == 3 {
                w.later(30_000);
                w.ok(Command::Tick);
            }
        }
        assert_eq!(w.phase(look), "inconclusive");
    });
    finished(&mut w, "split-comparers");
}

#[test]
fn a_silent_verifier_is_replaced_and_has_read_all_the_same() {
    let (mut w, _) = world(6);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[7, 8]);
    play.round(&mut w);
    let (_, lease, silent) = w.plan()[0];
    w.ok(Command::LoseLease {
        assignment: lease,
        reason: aevir_platform::command::LossReason::Silent,
    });
    play.to_the_end(&mut w);
    assert_eq!(w.phase(task), "settled");
    assert!(w.state.tasks[&task].readers.contains(&silent));
    assert_eq!(pending(&w, silent), 0);
    finished(&mut w, "silent-comparer");
}

/// Who sealed a result and keeps it back is compared with nobody.
#[test]
fn what_is_not_revealed_is_not_compared() {
    let (mut w, _) = world(6);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let mut runs = Vec::new();
    while w.phase(task) != "verifying" {
        let (_, run, _) = w.plan()[0];
        w.start(run);
        let run = w.run(run, json!(runs.len()), &[]);
        w.commit(&run);
        runs.push(run);
    }
    w.reveal(&runs[0]);
    w.later(30_000);
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.extended"]);
    let (_, run, _) = w.plan()[0];
    w.start(run);
    let run = w.run(run, json!(1), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(comparisons(&w, task), 1);
    let look = w.state.tasks[&task].inspections[0].by;
    w.finish(look, |_| json!(true));
    w.ok(Command::Tick);
    let verdict = w.state.tasks[&task].verdict.as_ref().unwrap();
    assert_eq!((w.phase(task), verdict.accepted.len()), ("settled", 2));
    assert_eq!(verdict.refused[0].reason, RefusalReason::NotRevealed);
    finished(&mut w, "kept-back");
}

#[test]
fn checks_look_at_what_comparisons_agreed_on() {
    let (mut w, _) = world(6);
    let mut terms = compared(&mut w, 2, 2);
    let check = checked()["verification"][0].clone();
    terms["verification"].as_array_mut().unwrap().push(check);
    let task = w.task(terms);
    let play = Play::new(task, &[7, 8]);
    let events = play.to_the_end(&mut w);
    assert_eq!(labels(&events)[0], "task.verified");
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 1));
    let looks = &w.state.tasks[&task].inspections;
    assert_eq!((looks.len(), looks[1].against), (2, None));
    let verdict = w.state.tasks[&task].verdict.as_ref().unwrap();
    assert_eq!(verdict.checks.len(), 1);
    finished(&mut w, "near-and-checked");
}

#[test]
fn what_is_compared_is_neither_adaptive_nor_disputed() {
    let (mut w, _) = world(5);
    let refused = |w: &mut World, pointer: &str, value: Value| {
        let mut terms = compared(w, 2, 3);
        *terms.pointer_mut(pointer).unwrap() = value;
        let wrong = w.submission(terms);
        w.refused(wrong)
    };
    let mut terms = compared(&mut w, 2, 3);
    terms["verification"][0]["adaptive"] = json!(true);
    let adaptive = w.submission(terms);
    assert_eq!(w.refused(adaptive), "definition-invalid");
    let module = "/verification/0/comparator/module/module";
    let check = json!(World::check_module().to_string());
    assert_eq!(refused(&mut w, module, check), "wrong-world");
    let none = json!("00".repeat(32));
    assert_eq!(refused(&mut w, module, none), "unknown-module");
    let rows = [
        ("/runtime", json!("det/1")),
        ("/verification/0/replicas", json!(6)),
        (
            "/verification/0/comparator/module/verifiers/count",
            json!(1),
        ),
        (
            "/verification/0/comparator/module/limits",
            json!({"memory_mib": 0}),
        ),
    ];
    for (pointer, value) in rows {
        let mut terms = compared(&mut w, 2, 3);
        terms["verification"][0]["comparator"]["module"]["limits"] = json!({});
        *terms.pointer_mut(pointer).unwrap() = value;
        if pointer.ends_with("replicas") {
            terms["verification"][0]["quorum"] = json!(4);
        }
        let wrong = w.submission(terms);
        assert_eq!(w.refused(wrong), "definition-invalid", "{pointer}");
    }
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    Play::new(task, &[7, 8]).to_the_end(&mut w);
    let dispute = Command::Dispute {
        account: w.requester,
        task,
        reason: "no".into(),
        bond: Amount(20 * AEV),
    };
    assert_eq!(w.refused(dispute), "not-comparable");
    documents_agree(&w, "near-undisputed");
}

/// Two readers of one owner are one.
#[test]
fn no_node_of_a_reader_gets_a_further_replica() {
    let (mut w, _) = world(4);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[10, 70, 71]);
    play.round(&mut w);
    let [(look, false)] = play.open(&w)[..] else {
        panic!()
    };
    w.finish(look, |_| json!(false));
    w.ok(Command::Tick);
    assert!(w.plan().is_empty(), "all four have a part in it");
    let owner = w.owner(ran(&w, look)[0]);
    let mut profile = crate::world::profile("second");
    profile.slots = 4;
    let second: NodeId = w.node_of(owner, profile);
    w.deposit(owner, 20 * AEV);
    let amount = Amount(20 * AEV);
    w.ok(Command::Stake {
        account: owner,
        node: second,
        amount,
    });
    assert!(w.plan().is_empty());
    w.check_replay();
}

#[test]
fn what_comparing_cost_is_not_given_back_when_the_task_ends() {
    let (mut w, _) = world(5);
    let before = w.available(w.requester);
    let terms = compared(&mut w, 2, 3);
    let task = w.task(terms);
    let play = Play::new(task, &[10, 70]);
    play.round(&mut w);
    assert!(play.compare(&mut w));
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "running", "they differ: one more replica");
    let look = w.state.tasks[&task].inspections[0].by;
    let got = w.state.tasks[&look].escrow;
    let held = w.state.tasks[&task].held();
    assert_eq!(held, Amount(w.state.tasks[&task].escrow.0 - got.0));
    let requester = w.requester;
    let events = w.ok(Command::CancelTask { requester, task });
    let closed = events.iter().find_map(|event| match event {
        Event::TaskClosed(closed) => Some(closed),
        _ => None,
    });
    let closed = closed.unwrap();
    assert_eq!(closed.fee.plus(closed.refund), Some(held));
    assert_eq!(before - w.available(w.requester), closed.fee.0 + TWO);
    finished(&mut w, "cancelled after a comparison");
}
