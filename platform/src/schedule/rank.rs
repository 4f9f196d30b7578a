//! Which of the fitting nodes is best, and the draw among those that are nearly so.

use aevir_events::Context;
use sha2::{Digest as _, Sha256};

use crate::{
    amount::PPM,
    event::Track,
    state::{Node, State, Task},
};

/// Weights of the score's parts; each part is in parts per million.
const RELIABILITY_WEIGHT: i64 = 6;
const POINTS_WEIGHT: i64 = 2;
const IDLE_WEIGHT: i64 = 2;
/// Nodes whose score is within this part of the best one's are near-equals.
const NEAR_PPM: crate::amount::Ppm = 100_000;
/// Points at which the points' part is one half: `points / (points + half)`.
const POINTS_HALF: i64 = 1_000;

/// A node's score for a task: reliability (lower confidence bound on this type of task), the owner's compute
/// points (saturating) and the idle part of its slots, weighted 6 : 2 : 2.
fn score(state: &State, task: &Task, node: &Node) -> i64 {
    let reliability = i64::from(node.reliability(task.definition.kind));
    let points = i128::from(state.points(node.owner, Track::Compute).max(0));
    let points = points * i128::from(PPM) / (points + i128::from(POINTS_HALF));
    let points = i64::try_from(points).unwrap_or(PPM);
    let idle = i64::from(node.free_slots()) * PPM / i64::from(node.slots().max(1));
    reliability * RELIABILITY_WEIGHT + points * POINTS_WEIGHT + idle * IDLE_WEIGHT
}

/// The nodes whose score is near the best.
pub(super) fn near_best<'a>(state: &State, task: &Task, nodes: Vec<&'a Node>) -> Vec<&'a Node> {
    let scored: Vec<(i64, &Node)> = nodes
        .into_iter()
        .map(|n| (score(state, task, n), n))
        .collect();
    let Some(best) = scored.iter().map(|(score, _)| *score).max() else {
        return Vec::new();
    };
    let floor = best - crate::amount::Amount(best).share(NEAR_PPM).0;
    scored
        .into_iter()
        .filter(|(score, _)| *score >= floor)
        .map(|(_, node)| node)
        .collect()
}

/// Draws one node uniformly: the least hash of the decision's entropy, the task and the node.
pub(super) fn draw<'a>(task: &Task, nodes: Vec<&'a Node>, context: &Context) -> Option<&'a Node> {
    nodes.into_iter().min_by_key(|node| {
        let mut hash = Sha256::new();
        hash.update(b"aevir.draw/1\n");
        hash.update(context.entropy);
        hash.update(task.id.0.to_bytes());
        hash.update(node.id.0.to_bytes());
        <[u8; 32]>::from(hash.finalize())
    })
}
