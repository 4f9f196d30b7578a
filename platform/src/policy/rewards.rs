//! The constants of the reward pools: part of each epoch's platform fees, for whoever has IntelliPoints at its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::{PPM, Ppm};

/// How epochs reward points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardsPolicy {
    /// The part of an epoch's platform fees that its pool gets.
    pub pool_ppm: Ppm,
    /// For so many epochs after its own a pool can be claimed; what is left of it then is the treasury's again.
    pub claim_epochs: u32,
}

/// A quarter: enough to be worth claiming, and with what points are minted for not enough to pay oneself for (see
/// `docs/economics.md`).
const POOL_PPM: Ppm = 250_000;
/// Half of the fees, and no more: with more of it, whoever holds most points would pay himself for tasks.
const POOL_PPM_MAX: Ppm = (PPM / 2) as Ppm;
/// A week of epochs of an hour.
const CLAIM_EPOCHS: u32 = 168;
/// One claim takes all open pools, and its postings are one entry of the log.
const CLAIM_EPOCHS_MAX: u32 = 400;

impl Default for RewardsPolicy {
    fn default() -> Self {
        Self {
            pool_ppm: POOL_PPM,
            claim_epochs: CLAIM_EPOCHS,
        }
    }
}

impl RewardsPolicy {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the fields and their bounds.
    pub(crate) fn check(self) -> Result<(), String> {
        if self.pool_ppm > POOL_PPM_MAX || !(1..=CLAIM_EPOCHS_MAX).contains(&self.claim_epochs) {
            return Err(format!(
                "the rewards' `pool_ppm` is 0 to {POOL_PPM_MAX}, and their `claim_epochs` 1 to {CLAIM_EPOCHS_MAX}"
            ));
        }
        Ok(())
    }
}
