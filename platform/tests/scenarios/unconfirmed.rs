//! Reviews whose fresh results do not agree: what nobody confirms is reversed, and nobody is blamed for it.

use aevir_platform::{command::Command, event::ReviewOutcome};
use serde_json::json;

use crate::{
    adaptive::{NEVER, policy},
    reviews::{
        AEV, FRESH, PLATFORM, alone, caught, dispute, finished, matured, outcome, pending, review,
        stake, truth, world,
    },
};

/// Nobody is known to be wrong, and the node that was caught pays for the attempts that it gave cause for.
#[test]
fn what_a_caught_node_said_alone_and_nobody_confirms_is_not_paid() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let node = nodes[0];
    let before = w.available(w.requester);
    let task = alone(&mut w, node, &nodes, &truth(node));
    let paid = before - w.available(w.requester);
    w.ok(Command::DrainNode { node: nodes[3] });
    caught(&mut w, node);
    w.ok(Command::ResumeNode { node: nodes[3] });
    w.ok(Command::Tick);
    let before = w.available(w.requester);
    let again = review(&w, task);
    w.finish(again, |node| json!({"n": node.to_string()}));
    assert_eq!(
        (w.phase(again), w.phase(task), outcome(&w, task)),
        ("inconclusive", "overturned", ReviewOutcome::Unconfirmed)
    );
    assert_eq!(w.available(w.requester) - before, paid);
    assert_eq!((pending(&w, node), stake(&w, node)), (0, 20 * AEV - 2_000));
    assert_eq!(w.state.nodes[&node].pledges.strikes, 1, "of before");
    matured(&mut w);
    finished(&w, "recalled-unconfirmed");
}

#[test]
fn what_no_fresh_replica_confirms_is_not_paid_and_nobody_is_blamed() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    let before = w.available(w.requester);
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    w.finish(again, |node| json!({"n": node.to_string()}));
    assert_eq!(
        (w.phase(again), w.phase(task), outcome(&w, task)),
        ("inconclusive", "overturned", ReviewOutcome::Unconfirmed)
    );
    assert_eq!(
        w.available(w.requester) - before,
        AEV + PLATFORM - 3_000,
        "all that it paid, but for the attempts"
    );
    assert_eq!((pending(&w, nodes[0]), stake(&w, nodes[0])), (0, 20 * AEV));
    assert_eq!(
        (
            w.state.nodes[&nodes[0]].pledges.strikes,
            w.outcomes(nodes[0]).1
        ),
        (0, 0)
    );
    matured(&mut w);
    assert_eq!(
        w.compute_points(w.owner(nodes[0])),
        0,
        "no points are minted"
    );
    finished(&w, "unconfirmed");
}

#[test]
fn one_fresh_replica_that_agrees_leaves_the_verdict() {
    let (mut w, nodes) = world(policy(NEVER), 4);
    let task = alone(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    w.ok(dispute(w.requester, task, FRESH));
    let again = review(&w, task);
    w.finish(again, |node| match node == nodes[1] {
        true => truth(node),
        false => json!({"n": node.to_string()}),
    });
    assert_eq!(
        (w.phase(again), outcome(&w, task)),
        ("inconclusive", ReviewOutcome::Undecided)
    );
    matured(&mut w);
    assert!(w.state.tasks[&task].matured_at().is_some());
    finished(&w, "disagreed");
}
