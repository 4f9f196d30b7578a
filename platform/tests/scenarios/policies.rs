//! The policies of most tests: the defaults, but for what asks nodes for stake, or has tests wait.

use aevir_platform::policy::{Policy, SLOTS_MAX, SettlementPolicy};
pub use aevir_platform::testing::unstaked;

/// The defaults without a dispute window: what is verified is paid. Nodes have the slots that they say, and quorums need no stake.
pub fn immediate() -> Policy {
    let mut policy = Policy {
        settlement: SettlementPolicy::IMMEDIATE,
        ..unstaked()
    };
    policy.scheduling.unproven_slots = SLOTS_MAX;
    policy
}
