//! The policies of most tests: the defaults, but for what asks nodes for stake, or has tests wait.

use aevir_platform::policy::{Policy, SLOTS_MAX, SettlementPolicy};

/// The defaults without a dispute window: what is verified is paid. Nodes have the slots that they say, and quorums need no stake.
pub fn immediate() -> Policy {
    let mut policy = Policy {
        settlement: SettlementPolicy::IMMEDIATE,
        ..unstaked()
    };
    policy.scheduling.unproven_slots = SLOTS_MAX;
    policy
}

/// The defaults, but for what asks nodes for a stake.
pub fn unstaked() -> Policy {
    let mut policy = Policy::default();
    policy.verification.staked_votes = 0;
    policy.verification.adaptive.vouched = false;
    policy.stake.free_after = 0;
    policy
}
