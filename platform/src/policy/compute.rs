//! The constants of checks of the class of arithmetic throughput that nodes claim for their GPUs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a node shows how fast its GPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComputePolicy {
    /// The mean time between two checks of a node, in ms; when exactly nobody can foresee. 0: there are none.
    pub check_ms: u32,
    /// The same while less counts than the node claims.
    pub retry_ms: u32,
    /// An answer that takes longer is none, in ms.
    pub answer_ms: u32,
    /// Checks of one node on one day: the log keeps them for ever.
    pub per_day: u32,
}

/// Bounds of the time between two checks: more often they would take a GPU's time from its runs, less often they are none.
const CHECK_MS: std::ops::RangeInclusive<u32> = 60_000..=604_800_000;
/// Bounds of the time for an answer: within a shorter one no process starts, a longer one lets who is slow look for help.
const ANSWER_MS: std::ops::RangeInclusive<u32> = 1_000..=600_000;
/// One each quarter of an hour.
const PER_DAY_MAX: u32 = 96;

impl Default for ComputePolicy {
    fn default() -> Self {
        Self {
            check_ms: 21_600_000,
            retry_ms: 900_000,
            // Three and a half times a class's work at a sixteenth of its speed.
            answer_ms: 120_000,
            per_day: 16,
        }
    }
}

impl ComputePolicy {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the field and its bounds.
    pub(super) fn check(&self) -> Result<(), String> {
        let times = [self.check_ms, self.retry_ms];
        if self.check_ms != 0 && times.iter().any(|ms| !CHECK_MS.contains(ms)) {
            return Err(format!(
                "the compute checks' `check_ms` and `retry_ms` are {} to {} ms; a `check_ms` of 0 means none",
                CHECK_MS.start(),
                CHECK_MS.end()
            ));
        }
        if !ANSWER_MS.contains(&self.answer_ms) || !(1..=PER_DAY_MAX).contains(&self.per_day) {
            return Err(format!(
                "the compute checks' `answer_ms` is {} to {} ms, and `per_day` 1 to {PER_DAY_MAX}",
                ANSWER_MS.start(),
                ANSWER_MS.end()
            ));
        }
        Ok(())
    }
}
