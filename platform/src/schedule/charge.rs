//! What runs cost their requesters: the time for which they hold a node's slots, by weight. A run counts for as many slots as the
//! largest of its parts of the node is worth ([dominant resource fairness](https://www.usenix.org/conference/nsdi11/dominant-resource-fairness-fair-allocation-multiple-resource-types),
//! Ghodsi and others, 2011, with a slot of the node as the unit).

use aevir_events::Timestamp;

use super::room_of;
use crate::{
    policy::Policy,
    schedule::needs::MIB,
    state::{Assignment, Node, Room, State, Task},
};

/// A slot, in the unit in which slots are counted here. It keeps a charge exact to a thousandth of a ms at the greatest weight, too.
pub(crate) const SLOT: u64 = 1_000;

/// What a requester of such a weight is charged for so many ms of so many thousandths of a slot; at least 1, so that
/// placements always count.
pub(crate) fn charge(ms: u64, slots_milli: u64, weight: u32) -> u64 {
    let held = u128::from(ms) * u128::from(slots_milli);
    let charge = held.div_ceil(u128::from(weight.max(1))).max(1);
    u64::try_from(charge).unwrap_or(u64::MAX)
}

/// For how many slots of a node a run counts, in thousandths: its largest part of what the node has for `slots` runs together, and
/// one at least.
pub(crate) fn slots_milli(run: Room, node: Room, slots: u32) -> u64 {
    let all = u64::from(slots.max(1)) * SLOT;
    let pairs = run.quantities().into_iter().zip(node.quantities());
    let parts = pairs.filter(|(_, has)| *has > 0).map(|(takes, has)| {
        let part = (u128::from(takes) * u128::from(all)).div_ceil(u128::from(has));
        u64::try_from(part).unwrap_or(u64::MAX)
    });
    parts.max().unwrap_or(SLOT).clamp(SLOT, all)
}

/// What a requester of such a weight is charged for all that a run of the task on the node reserves.
pub(crate) fn charge_of(state: &State, task: &Task, node: &Node, weight: u32) -> u64 {
    let slots_milli = slots_milli(room_of(state, task), node.room(), node.slots());
    charge(reserved_ms(task), slots_milli, weight)
}

/// For how long a run reserves its slots, in ms.
pub(crate) fn reserved_ms(task: &Task) -> u64 {
    u64::from(task.definition.limits.runtime_s) * 1_000
}

/// For how long a run that ends now is charged, in ms: the time that it held its node, as far as the task accounts for it. How long a
/// node fetches, and waits before it commits, is its own doing, and its requester's turns are not to be the node's to use up.
pub(crate) fn held_ms(task: &Task, run: &Assignment, policy: &Policy, now: Timestamp) -> u64 {
    let span = |from: Timestamp, to: Timestamp| u64::try_from(to.0 - from.0).unwrap_or(0);
    let begun = run.started_at.unwrap_or(now);
    let leases = &policy.scheduling.leases;
    let inputs = leases.transfer_ms(task.input_bytes());
    let outputs = leases.transfer_ms(brought_bytes(task, run));
    let before = u64::from(policy.accept_ms).saturating_add(inputs);
    let after = reserved_ms(task).saturating_add(outputs);
    let before = span(run.leased_at, begun).min(before);
    before.saturating_add(span(begun, now).min(after))
}

/// Bytes of a run's outputs; how large closed ones are is not known yet: what the task allows at most.
fn brought_bytes(task: &Task, run: &Assignment) -> u64 {
    if run.closed_outputs.is_empty() {
        let sizes = run.uploads.iter().map(|blob| blob.size.0);
        return sizes.fold(0, u64::saturating_add);
    }
    u64::from(task.definition.limits.output_mib) * MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(memory_mib: u64, gpu_memory_mib: u64) -> Room {
        Room {
            memory_mib,
            storage_mib: 0,
            gpu_memory_mib,
            cpu_cores: 1,
            memories_mib: memory_mib + gpu_memory_mib,
        }
    }

    #[test]
    fn a_run_counts_by_its_largest_part() {
        let node = Room {
            cpu_cores: 16,
            memories_mib: u64::MAX,
            ..room(4_096, 8_192)
        };
        // Of 4 GiB for 16 slots: a sixty-fourth is less than a slot, all of it is all slots.
        assert_eq!(slots_milli(room(64, 0), node, 16), 1_000);
        assert_eq!(slots_milli(room(384, 0), node, 16), 1_500);
        assert_eq!(slots_milli(room(4_096, 0), node, 16), 16_000);
        assert_eq!(slots_milli(room(64, 4_096), node, 16), 8_000);
        assert_eq!(slots_milli(room(4_096, 0), room(4_096, 0), 1), 1_000);
        // Where the GPU is software, what it takes is the machine's: a quarter of all memory is four slots of 16.
        let software = Room {
            memories_mib: 4_096,
            ..node
        };
        assert_eq!(slots_milli(room(512, 512), node, 16), 2_000);
        assert_eq!(slots_milli(room(512, 512), software, 16), 4_000);
        // The node has less by now than when it took the run.
        assert_eq!(slots_milli(room(9_000, 0), node, 16), 16_000);
    }

    #[test]
    fn the_example_of_the_documents() {
        assert_eq!(charge(60_000, SLOT, 100), 600_000);
        assert_eq!(charge(60_000, 16 * SLOT, 100), 9_600_000);
        assert_eq!(charge(0, SLOT, 100), 1);
        assert_eq!(charge(u64::MAX, u64::MAX, 1), u64::MAX);
    }
}
