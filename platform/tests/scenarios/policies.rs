//! The policy of most scenarios.

use aevir_platform::policy::{Policy, SLOTS_MAX, SettlementPolicy};

/// The defaults without a dispute window: what is verified is paid. Nodes have the slots that they say.
pub fn immediate() -> Policy {
    let mut policy = Policy {
        settlement: SettlementPolicy::IMMEDIATE,
        ..Policy::default()
    };
    policy.scheduling.unproven_slots = SLOTS_MAX;
    policy
}
