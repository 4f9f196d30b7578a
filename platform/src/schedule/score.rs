//! How good a node is for a task: a level from 0 to 63, and more for what it has of the task already.
//!
//! The levels are the rule, and not a rounding of it: nodes of one level are equals, so that a plan finds the best of
//! them without looking at each.

use crate::{
    amount::{PPM, Points},
    definition::TaskType,
    event::Track,
    policy::{SCORE_LEVELS, ScorePolicy},
    state::{HardwareClass, Node, State},
};

/// The part of a node's score that does not change with its load, in parts per million times weight.
pub(crate) fn fixed(
    state: &State,
    node: &Node,
    kind: TaskType,
    hardware: &HardwareClass,
    policy: &ScorePolicy,
) -> u64 {
    let reliability = u64::from(node.tally(kind, hardware).reliability());
    let points = state.points(node.owner, Track::Compute);
    reliability * u64::from(policy.reliability_weight)
        + saturating(points, policy.points_half) * u64::from(policy.points_weight)
}

/// The part that is for the idle part of its slots, in the same unit.
pub(crate) fn idle(free_slots: u32, slots: u32, policy: &ScorePolicy) -> u64 {
    let idle = u64::from(free_slots.min(slots)) * PPM as u64 / u64::from(slots.max(1));
    idle * u64::from(policy.idle_weight)
}

/// The level of a node with such a score.
pub(crate) fn level(score: u64, policy: &ScorePolicy) -> u32 {
    let weights = u64::from(policy.reliability_weight)
        + u64::from(policy.points_weight)
        + u64::from(policy.idle_weight);
    let level = score * u64::from(SCORE_LEVELS) / (weights.max(1) * PPM as u64);
    u32::try_from(level)
        .unwrap_or(u32::MAX)
        .min(SCORE_LEVELS - 1)
}

/// `points / (points + half)`, in parts per million.
fn saturating(points: i64, half: Points) -> u64 {
    let points = i128::from(points.max(0));
    let half = i128::from(half.0.max(1));
    u64::try_from(points * i128::from(PPM) / (points + half)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SchedulingPolicy;

    #[test]
    fn the_example_of_the_documents() {
        let policy = SchedulingPolicy::default().score;
        // 10 of 10 good, 1,000 points, three of four slots free.
        let fixed = 646_114 * 6 + saturating(1_000, policy.points_half) * 2;
        assert_eq!(level(fixed + idle(3, 4, &policy), &policy), 40);
        let newcomer = 94_528 * 6 + idle(1, 1, &policy);
        assert_eq!(level(newcomer, &policy), 16);
        assert_eq!(level(u64::from(u32::MAX), &policy), 63);
    }
}
