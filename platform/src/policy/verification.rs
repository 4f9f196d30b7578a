//! The constants of verification: how often the result of a trusted node is repeated, and what is asked of verifiers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{Amount, PPM, Ppm},
    digest::Digest,
};

/// How results are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerificationPolicy {
    pub adaptive: AdaptivePolicy,
    /// In an open market so many of a quorum's results must have stake behind them for it to decide; all of them where it has fewer.
    pub staked_votes: u32,
    /// Of samples, when what their nodes reveal can be read in the log.
    pub reveals: Reveals,
    /// How long a review may take, in ms; without an outcome by then the verdict stands.
    pub review_ms: u32,
    /// How long the verifiers of a method may take, in ms; without an outcome by then they have said nothing.
    pub inspection_ms: u32,
    /// Verifiers are drawn among the nodes that have free what they are to lock for their word. A private market does not ask for it.
    pub verifiers_staked: bool,
    /// With which chance a candidate whose owner has no points is elected a verifier when it comes up; with points it is more.
    pub election_floor_ppm: Ppm,
    /// The module of the world `comparator` by which the market compares results up to a tolerance: everybody may name a tolerance then, and no
    /// module. Absent: each requester brings one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Digest>,
}

/// When others can read what the nodes of a sample reveal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reveals {
    /// With the verdict: until then the log has it closed, so that no later replica can copy it.
    Closed,
    /// At once, as in logs of old.
    Open,
}

/// When one result of an adaptive sample stands alone, and how often it is repeated all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptivePolicy {
    /// What a node is assumed to save by cheating on a result, as a part of the price.
    pub cheat_saving_ppm: Ppm,
    /// The part of owners that is assumed to cheat together, so that one of them confirms another's result.
    pub colluding_ppm: Ppm,
    /// A result is repeated at least so often, whatever is at stake.
    pub floor_ppm: Ppm,
    /// The least reliability, on the type of task and the hardware, at which a node is trusted. One that is below is always repeated.
    pub trusted_ppm: Ppm,
    /// A result that stood alone matures once a later one of its node, which a draw had repeated, has stood; one for which none has when its
    /// time comes is itself repeated then.
    pub vouched: bool,
}

/// Four fifths of the price: a node that computes nothing saves nearly all that it is paid for, and its own profit is the rest.
const CHEAT_SAVING_PPM: Ppm = 800_000;
/// One owner in ten.
const COLLUDING_PPM: Ppm = 100_000;
/// One result in ten is repeated even where the stake would deter with less: the stake deters who counts, the floor finds who does not.
const FLOOR_PPM: Ppm = 100_000;
/// What 32 good outcomes without a bad one show.
const TRUSTED_PPM: Ppm = 850_000;

/// No one stake decides, however many names its party has. More cost replicas and show hardly more.
const STAKED_VOTES: u32 = 2;
/// As many as a sample can have.
const STAKED_VOTES_MAX: u32 = 9;

/// A day: money must not wait for longer because nobody runs it again.
const REVIEW_MS: u32 = 86_400_000;
/// A minute, in which hardly anything is run again, to a week, for which nobody waits for wages.
const REVIEW_MS_RANGE: std::ops::RangeInclusive<u32> = 60_000..=604_800_000;

/// Six hours: a requester waits for it, and so do the nodes that are paid by the verdict.
const INSPECTION_MS: u32 = 21_600_000;
/// Ten seconds, in which no long check runs, to a week.
const INSPECTION_MS_RANGE: std::ops::RangeInclusive<u32> = 10_000..=604_800_000;

/// One in eight: who has many points is elected eight times as often as a newcomer, and no more.
const ELECTION_FLOOR_PPM: Ppm = 125_000;
/// Below one in a hundred elections among newcomers would be decided by their bound.
const ELECTION_FLOOR_PPM_MIN: Ppm = 10_000;

impl Default for VerificationPolicy {
    fn default() -> Self {
        Self {
            adaptive: AdaptivePolicy::default(),
            staked_votes: STAKED_VOTES,
            reveals: Reveals::Closed,
            review_ms: REVIEW_MS,
            inspection_ms: INSPECTION_MS,
            verifiers_staked: true,
            election_floor_ppm: ELECTION_FLOOR_PPM,
            tolerance: None,
        }
    }
}

impl Default for AdaptivePolicy {
    fn default() -> Self {
        Self {
            cheat_saving_ppm: CHEAT_SAVING_PPM,
            colluding_ppm: COLLUDING_PPM,
            floor_ppm: FLOOR_PPM,
            trusted_ppm: TRUSTED_PPM,
            vouched: true,
        }
    }
}

impl AdaptivePolicy {
    /// How often a result is repeated that earns `price` and for which `stake` is locked, in parts per million: the least chance at
    /// which cheating does not pay, `c / ((1 - f) (R + S))` rounded up, and not below the floor. Always, where nothing is at stake.
    pub fn chance_ppm(self, price: Amount, stake: Amount) -> Ppm {
        let whole = PPM as i128;
        let saved = i128::from(self.cheat_saving_ppm) * i128::from(price.0);
        let at_stake = i128::from(price.0) + i128::from(stake.0);
        let honest = (whole - i128::from(self.colluding_ppm)).max(0);
        let lost = honest * at_stake;
        if lost <= 0 {
            return PPM as Ppm;
        }
        // Both are in millionths of micro-AEV; neither is negative.
        let least = (saved * whole + lost - 1) / lost;
        let chance = least.max(i128::from(self.floor_ppm)).min(whole);
        Ppm::try_from(chance).unwrap_or(PPM as Ppm)
    }
}

impl VerificationPolicy {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the fields and their bounds.
    pub(crate) fn check(self) -> Result<(), String> {
        let adaptive = &self.adaptive;
        let parts = [
            adaptive.cheat_saving_ppm,
            adaptive.colluding_ppm,
            adaptive.floor_ppm,
            adaptive.trusted_ppm,
        ];
        if parts.iter().any(|part| i64::from(*part) > PPM) {
            return Err(format!(
                "the verification's `adaptive` fields are 0 to {PPM} parts per million"
            ));
        }
        if self.staked_votes > STAKED_VOTES_MAX {
            return Err(format!(
                "the verification's `staked_votes` is 0 to {STAKED_VOTES_MAX}"
            ));
        }
        let floor = self.election_floor_ppm;
        if floor < ELECTION_FLOOR_PPM_MIN || i64::from(floor) > PPM {
            return Err(format!(
                "the verification's `election_floor_ppm` is {ELECTION_FLOOR_PPM_MIN} to {PPM}"
            ));
        }
        if !INSPECTION_MS_RANGE.contains(&self.inspection_ms) {
            return Err(format!(
                "the verification's `inspection_ms` is {} to {} ms",
                INSPECTION_MS_RANGE.start(),
                INSPECTION_MS_RANGE.end()
            ));
        }
        if !REVIEW_MS_RANGE.contains(&self.review_ms) {
            return Err(format!(
                "the verification's `review_ms` is {} to {} ms",
                REVIEW_MS_RANGE.start(),
                REVIEW_MS_RANGE.end()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of `docs/economics.md`.
    #[test]
    fn the_chance_is_the_least_at_which_cheating_does_not_pay() {
        let policy = AdaptivePolicy::default();
        let aev = |n: i64| Amount(n * 1_000_000);
        assert_eq!(policy.chance_ppm(aev(1), aev(3)), 222_223);
        assert_eq!(policy.chance_ppm(aev(1), aev(0)), 888_889);
        assert_eq!(
            policy.chance_ppm(aev(1), aev(20)),
            100_000,
            "not below the floor"
        );
        assert_eq!(policy.chance_ppm(aev(0), aev(0)), 1_000_000);
        let all = AdaptivePolicy {
            colluding_ppm: 1_000_000,
            ..policy
        };
        assert_eq!(all.chance_ppm(aev(1), aev(3)), 1_000_000);
        let most = Amount(i64::MAX);
        assert_eq!(policy.chance_ppm(most, most), 444_445);
    }
}
