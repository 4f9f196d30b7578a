//! Results that went on from what another node had made, and are looked at again: who answers for them.

use aevir_platform::{
    amount::Count,
    command::Command,
    digest::Digest,
    event::ReviewOutcome,
    ids::{AssignmentId, NodeId, TaskId},
    report::BlobRef,
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, policy},
    reviews::{
        AEV, FRESH, PLATFORM, dispute, finished, matured, only, outcome, pending, review, stake,
        truth, world,
    },
    world::World,
};

fn blob(name: &str) -> BlobRef {
    BlobRef {
        digest: Digest::of(name.as_bytes()),
        size: Count(name.len() as u64),
    }
}

fn save(w: &mut World, node: NodeId, assignment: AssignmentId, name: &str) {
    let checkpoint = blob(name);
    w.ok(Command::SaveCheckpoint {
        node,
        assignment,
        checkpoint,
    });
}

/// The node begins, or goes on, saves this and gives the run back.
fn saved_by(w: &mut World, node: NodeId, nodes: &[NodeId], (ppm, name): (u32, &str)) {
    only(w, node, nodes, |w| {
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        w.progress(assignment, ppm);
        save(w, node, assignment, name);
        w.ok(Command::GiveBack { node, assignment });
    });
    w.heard_from(node);
}

/// The node goes on from what was saved, to such a result, with less fuel than a run from zero.
fn finished_by(w: &mut World, node: NodeId, nodes: &[NodeId], result: Value) {
    only(w, node, nodes, |w| {
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let mut run = w.run(assignment, result, &[]);
        let resume = w.state.assignment(assignment).unwrap().1.resume;
        run.report.resumed_from = Some(resume.expect("it goes on from there").digest);
        run.report.usage.fuel = Count(run.report.usage.fuel.0 / 2);
        w.commit(&run);
        w.reveal(&run);
    });
}

/// The requester doubts it, and fresh runs from zero agree on `truth`, each of which saves this on its way.
fn reviewed(w: &mut World, task: TaskId, makes: Option<&str>) {
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(w, task);
    while w.phase(again) != "settled" {
        let mut runs = Vec::new();
        while let Some((_, assignment, node)) = w.plan().first().copied() {
            w.start(assignment);
            if let Some(name) = makes {
                save(w, node, assignment, name);
            }
            let run = w.run(assignment, truth(node), &[]);
            w.commit(&run);
            runs.push(run);
        }
        assert!(!runs.is_empty());
        runs.iter().for_each(|run| drop(w.reveal(run)));
    }
}

fn strikes(w: &World, node: NodeId) -> u32 {
    w.state.nodes[&node].pledges.strikes
}

fn bad(w: &World, node: NodeId) -> u64 {
    w.outcomes(node).1
}

/// Fuel is of the rest only: with it, no fresh run would ever agree with one that went on.
#[test]
fn an_honest_run_that_went_on_stands_by_its_work() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = w.task(json!({}));
    saved_by(&mut w, nodes[0], &nodes, (500_000, "half"));
    finished_by(&mut w, nodes[1], &nodes, truth(nodes[1]));
    reviewed(&mut w, task, Some("half"));
    assert_eq!(
        (w.phase(task), outcome(&w, task)),
        ("settled", ReviewOutcome::Upheld)
    );
    let review = &w.state.tasks[&review(&w, task)];
    let parts = [nodes[0], nodes[1]];
    assert!(
        review
            .assignments
            .values()
            .all(|a| !parts.contains(&a.node)),
        "who made part of it does not look at it"
    );
    matured(&mut w);
    assert!(w.state.tasks[&task].matured_at().is_some());
    finished(&w, "went-on");
}

#[test]
fn who_saved_what_no_run_makes_answers_for_what_others_made_of_it() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let (poisoner, victim) = (nodes[0], nodes[1]);
    let task = w.task(json!({}));
    let before = w.available(w.requester);
    saved_by(&mut w, poisoner, &nodes, (990_000, "poison"));
    finished_by(&mut w, victim, &nodes, json!({"n": "poisoned"}));
    reviewed(&mut w, task, Some("honest"));
    assert_eq!(w.phase(task), "overturned");
    assert_eq!(pending(&w, victim), 0, "what nobody needs is not paid");
    assert_eq!((stake(&w, victim), strikes(&w, victim)), (20 * AEV, 0));
    assert_eq!((bad(&w, victim), bad(&w, poisoner)), (0, 1_000));
    assert_eq!(strikes(&w, poisoner), 1);
    let paid = before - w.available(w.requester);
    assert!(paid <= 2 * AEV - AEV - PLATFORM, "{paid}");
    matured(&mut w);
    finished(&w, "poisoned");
}

/// The checkpoint is right. Whether the run is, or the module goes on otherwise than it began, nothing tells.
#[test]
fn who_made_something_else_of_a_good_checkpoint_is_not_paid() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let (author, liar) = (nodes[0], nodes[1]);
    let task = w.task(json!({}));
    saved_by(&mut w, author, &nodes, (500_000, "half"));
    finished_by(&mut w, liar, &nodes, json!({"n": "lie"}));
    reviewed(&mut w, task, Some("half"));
    assert_eq!((w.phase(task), pending(&w, liar)), ("overturned", 0));
    assert_eq!((bad(&w, author), strikes(&w, author)), (0, 0));
    assert_eq!((bad(&w, liar), strikes(&w, liar)), (1_000, 0));
    assert_eq!(stake(&w, liar), 20 * AEV);
    matured(&mut w);
    finished(&w, "made-of-good");
}

/// The first one is held against runs from zero; who went on from it and saved what the next one went on from is doubted with that one.
#[test]
fn of_several_the_first_bad_checkpoint_counts() {
    for (makes, faults) in [("other", [1_000, 0, 0]), ("first", [0, 1_000, 1_000])] {
        let (mut w, nodes) = world(policy(NEVER), 5);
        let task = w.task(json!({}));
        saved_by(&mut w, nodes[0], &nodes, (300_000, "first"));
        saved_by(&mut w, nodes[1], &nodes, (600_000, "second"));
        finished_by(&mut w, nodes[2], &nodes, json!({"n": "wrong"}));
        reviewed(&mut w, task, Some(makes));
        assert_eq!(w.phase(task), "overturned");
        let found = [nodes[0], nodes[1], nodes[2]].map(|node| bad(&w, node));
        assert_eq!(found, faults, "{makes}");
        let found = [nodes[0], nodes[1], nodes[2]].map(|node| strikes(&w, node));
        assert_eq!(found, [u32::from(makes == "other"), 0, 0]);
        matured(&mut w);
        finished(&w, &format!("several-{makes}"));
    }
}

/// A bad checkpoint of its own is no excuse, though another node had begun.
#[test]
fn who_comes_back_to_his_own_checkpoint_answers_for_it() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = w.task(json!({}));
    saved_by(&mut w, nodes[0], &nodes, (900_000, "poison"));
    finished_by(&mut w, nodes[0], &nodes, json!({"n": "lie"}));
    reviewed(&mut w, task, Some("honest"));
    assert_eq!((w.phase(task), strikes(&w, nodes[0])), ("overturned", 1));
    assert_eq!(stake(&w, nodes[0]), 17 * AEV);
    matured(&mut w);
    finished(&w, "own-poison");
}
