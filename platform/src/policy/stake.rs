//! The constants of stake: what a node pledges for a result, and when it loses it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Ppm};

/// What nodes pledge for their results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StakePolicy {
    /// Stake that is locked for one result until it has matured, as a part of the price of the replica.
    pub per_result_ppm: Ppm,
    /// Refused results of a node, within `strike_ms` of one another, that cost it no stake.
    pub strikes_free: u32,
    /// Results of a node that a quorum must have accepted before any refused one costs no stake.
    pub free_after: u32,
    /// A refused result is forgotten when none followed for so long, in ms.
    pub strike_ms: u32,
    /// Refused results, within `strike_ms` of one another, with which a node is suspended until an administrator releases it; with 0, none is.
    pub strikes_max: u32,
}

/// Three times the price: see the derivation in `docs/economics.md`.
const PER_RESULT_PPM: Ppm = 3_000_000;
/// One mismatch never costs stake: a machine may fail once, and its other results are looked at first.
const STRIKES_FREE: u32 = 1;
/// As many good results as a newcomer is trusted after: before that a name would be worth one lie for nothing, and another name the next.
const FREE_AFTER: u32 = 32;
/// A week: a machine in order does not differ from a quorum twice in it.
const STRIKE_MS: u32 = 604_800_000;
/// With three of them a node is shut out: a machine in order does not come to two.
const STRIKES_MAX: u32 = 3;
/// A hundred times the price: nobody would pledge more for one result.
const PER_RESULT_PPM_MAX: Ppm = 100_000_000;
/// With more of them free, stake would stand for nothing.
const STRIKES_FREE_MAX: u32 = 100;

impl Default for StakePolicy {
    fn default() -> Self {
        Self {
            per_result_ppm: PER_RESULT_PPM,
            strikes_free: STRIKES_FREE,
            free_after: FREE_AFTER,
            strike_ms: STRIKE_MS,
            strikes_max: STRIKES_MAX,
        }
    }
}

impl StakePolicy {
    /// What is locked for a result of this price.
    pub fn for_result(self, price: Amount) -> Amount {
        price.share(self.per_result_ppm)
    }

    /// Whether a refused result costs no stake: so many strikes with it, of a node of which quorums have accepted so many.
    pub fn is_free(self, strikes: u32, accepted: u32) -> bool {
        strikes <= self.strikes_free && accepted >= self.free_after
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the fields and their bounds.
    pub(crate) fn check(self) -> Result<(), String> {
        if self.per_result_ppm > PER_RESULT_PPM_MAX || self.strikes_free > STRIKES_FREE_MAX {
            return Err(format!(
                "the stake's `per_result_ppm` is 0 to {PER_RESULT_PPM_MAX}, and its `strikes_free` 0 to {STRIKES_FREE_MAX}"
            ));
        }
        Ok(())
    }
}
