//! The constants of what contents earn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{PPM, Ppm},
    content::GENERATIONS_MAX,
};

/// How contents earn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentsPolicy {
    /// The part of what a content earns that goes to those it was made of; and of that again, to those that they were made of.
    pub royalty_ppm: Ppm,
    /// So many generations of them earn.
    pub generations: u8,
    /// A file that one account has registered can't be registered by another.
    pub first_registrant: bool,
}

/// A tenth: what was used is worth something, and who trains on it keeps most of what his model earns.
const ROYALTY_PPM: Ppm = 100_000;
/// Half, and no more: with more of it the first generation would keep less than it passes on.
const ROYALTY_PPM_MAX: Ppm = (PPM / 2) as Ppm;
/// The fourth gets a ten-thousandth.
const GENERATIONS: u8 = 4;

impl Default for ContentsPolicy {
    fn default() -> Self {
        Self {
            royalty_ppm: ROYALTY_PPM,
            generations: GENERATIONS,
            first_registrant: true,
        }
    }
}

impl ContentsPolicy {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the fields and their bounds.
    pub(crate) fn check(self) -> Result<(), String> {
        if self.royalty_ppm > ROYALTY_PPM_MAX || self.generations > GENERATIONS_MAX {
            return Err(format!(
                "the contents' `royalty_ppm` is 0 to {ROYALTY_PPM_MAX}, and their `generations` 0 to {GENERATIONS_MAX}"
            ));
        }
        Ok(())
    }
}
