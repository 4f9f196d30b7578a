//! How good a node is for a task: a level from 0 to 63, and more for what it has of the task already.
//!
//! The levels are the rule, and not a rounding of it: nodes of one level are equals, so that a plan finds the best of
//! them without looking at each.

use crate::{
    amount::{Amount, PPM, Points, Ppm},
    definition::TaskType,
    event::Track,
    policy::{SCORE_LEVELS, ScorePolicy},
    state::{HardwareClass, Node, State, Task},
};

/// The part of a node's score that does not change with its load, in parts per million times weight.
pub(crate) fn fixed(
    node: &Node,
    kind: TaskType,
    hardware: &HardwareClass,
    policy: &ScorePolicy,
) -> u64 {
    let reliability = u64::from(node.tally(kind, hardware).reliability());
    reliability * u64::from(policy.reliability_weight)
        + saturating(node.ranked_points, policy.points_half) * u64::from(policy.points_weight)
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

/// Levels that a node gains for asking less than a replica earns: all of them where it asks nothing, none where it asks the
/// whole price.
pub(crate) fn price_levels(price: Amount, ask: u64, policy: &ScorePolicy) -> u32 {
    let price = u64::try_from(price.0).unwrap_or(0);
    if ask == 0 && price > 0 {
        return policy.price_levels;
    }
    let spared = u128::from(price.saturating_sub(ask)) * u128::from(policy.price_levels);
    let levels = spared.checked_div(u128::from(price)).unwrap_or(0);
    u32::try_from(levels).unwrap_or(0)
}

/// The most that a node asks which gains so many levels, above 0: the other way round.
pub(crate) fn asks_at_most(price: Amount, levels: u32, policy: &ScorePolicy) -> Option<u64> {
    let price = u64::try_from(price.0).unwrap_or(0);
    let spared = u128::from(price) * u128::from(levels);
    let spared = spared.div_ceil(u128::from(policy.price_levels.max(1)));
    let spared = u64::try_from(spared).unwrap_or(u64::MAX);
    (price > 0).then(|| price.checked_sub(spared)).flatten()
}

/// With which chance a verifier is taken that comes up, in parts per million: by its owner's points for computing and verifying.
pub(crate) fn election_weight(state: &State, task: &Task, node: &Node) -> Ppm {
    let policy = state.policy_of(task);
    let points = |track| state.points(node.owner, track);
    let points = points(Track::Compute).saturating_add(points(Track::Verification));
    let weight = saturating(points, policy.scheduling.score.points_half);
    let weight = Ppm::try_from(weight).unwrap_or(Ppm::MAX);
    weight.max(policy.verification.election_floor_ppm)
}

/// `points / (points + half)`, in parts per million.
fn saturating(points: i64, half: Points) -> u64 {
    let points = i128::from(points.max(0));
    let half = i128::from(half.0.max(1));
    u64::try_from(points * i128::from(PPM) / (points + half)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        // A price of 1 AEV, and an ask of 0.4 AEV.
        assert_eq!(price_levels(Amount(1_000_000), 400_000, &policy), 3);
    }

    #[test]
    fn levels_and_asks_are_each_others_reverse() {
        let mut policy = SchedulingPolicy::default().score;
        for most in [0, 1, 6, 64] {
            policy.price_levels = most;
            for price in [0, 1, 5, 1_000, 1_000_003] {
                for ask in (0..=price).step_by(usize::try_from(price / 200 + 1).unwrap()) {
                    let ask = u64::try_from(ask).unwrap();
                    let found = price_levels(Amount(price), ask, &policy);
                    assert!(found <= most);
                    for levels in 1..=most {
                        let reaches = asks_at_most(Amount(price), levels, &policy);
                        let reaches = reaches.is_some_and(|most| ask <= most);
                        assert_eq!(reaches, found >= levels, "{price} {ask} {levels}/{most}");
                    }
                }
            }
        }
    }
}
