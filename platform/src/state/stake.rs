//! What a node has pledged, and how often its results were refused.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{amount::Amount, policy::StakePolicy};

/// A node's pledges and strikes. The stake itself is a balance of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pledges {
    /// Of its stake, what is locked for results that are open: the sum over its assignments.
    pub locked: Amount,
    /// Refused results, none of which was forgotten before the next.
    pub strikes: u32,
    /// The last of them.
    pub struck_at: Timestamp,
    /// Its results that a quorum accepted, ever.
    pub accepted: u32,
    /// When a quorum agreed on another result than one of its own, the last time; 0 where none ever did.
    pub caught_at: Timestamp,
}

impl Pledges {
    /// The strikes that still count.
    pub fn strikes_at(self, now: Timestamp, policy: StakePolicy) -> u32 {
        let since = now.0.saturating_sub(self.struck_at.0);
        if since > i64::from(policy.strike_ms) {
            0
        } else {
            self.strikes
        }
    }

    /// One more refused result.
    pub fn strike(&mut self, now: Timestamp, policy: StakePolicy) {
        self.strikes = self.strikes_at(now, policy).saturating_add(1);
        self.struck_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_are_forgotten_when_none_follows() {
        let policy = StakePolicy {
            strike_ms: 1_000,
            ..StakePolicy::default()
        };
        let mut pledges = Pledges::default();
        pledges.strike(Timestamp(5_000), policy);
        assert_eq!(pledges.strikes_at(Timestamp(6_000), policy), 1);
        assert_eq!(pledges.strikes_at(Timestamp(6_001), policy), 0);
        pledges.strike(Timestamp(6_000), policy);
        assert_eq!(pledges.strikes, 2);
        pledges.strike(Timestamp(8_000), policy);
        assert_eq!(pledges.strikes, 1);
    }
}
