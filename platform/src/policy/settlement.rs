//! The constants of what happens between a verdict and the money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How verdicts become money that can be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettlementPolicy {
    /// The dispute window, in ms: shares and points of a verdict mature so long after it; with 0, in its batch.
    pub window_ms: u32,
}

/// An hour, as long as an epoch: a requester's own program can look at a result in it, and a node's shares (and what it
/// pledged for them) are held up for no longer.
const WINDOW_MS: u32 = 3_600_000;
/// 30 days: what is held up for longer is nobody's wages any more, and every immature result stands in the state.
const WINDOW_MS_MAX: u32 = 2_592_000_000;

impl Default for SettlementPolicy {
    /// For a market of strangers.
    fn default() -> Self {
        Self {
            window_ms: WINDOW_MS,
        }
    }
}

impl SettlementPolicy {
    /// Everything matures with its verdict. For markets of one owner, who would only dispute with himself.
    pub const IMMEDIATE: Self = Self { window_ms: 0 };

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the field and its bounds.
    pub(crate) fn check(self) -> Result<(), String> {
        if self.window_ms > WINDOW_MS_MAX {
            return Err(format!(
                "the dispute window is 0 to {WINDOW_MS_MAX} ms, which are 30 days"
            ));
        }
        Ok(())
    }
}
