//! How much memory a machine has for runs.

use sysinfo::{MemoryRefreshKind, System};

const MIB: u64 = 1024 * 1024;
/// One of so many parts of a machine's memory is not offered: its system, the agent, and what executors need beside their guests lie there.
/// Offered in full, it would be given out, and runs would end by its lack, which is the node's fault.
const KEPT_PART: u64 = 8;
/// Memory offered where the system does not say how much there is, in MiB.
const FALLBACK_MIB: u32 = 1024;

/// What a node offers unless its operator says how much: most of the machine's memory, or of what its control group may use of that. In MiB.
pub fn offered_memory_mib() -> u32 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = system.total_memory();
    let group = system.cgroup_limits().map(|limits| limits.total_memory);
    offered(machine, group)
}

/// Of a machine with so many bytes, or none that it tells, and of a group's bound.
fn offered(machine: u64, group: Option<u64>) -> u32 {
    // A group without a bound has the machine's, or says nothing.
    let group = group.filter(|bytes| *bytes > 0).unwrap_or(machine);
    let bytes = machine.min(group);
    if bytes == 0 {
        return FALLBACK_MIB;
    }
    let mib = (bytes - bytes / KEPT_PART) / MIB;
    u32::try_from(mib).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_kept_of_what_may_be_used() {
        const GIB: u64 = 1024 * MIB;
        assert_eq!(offered(16 * GIB, None), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(16 * GIB)), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(u64::MAX)), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(2 * GIB)), 1_792, "a container's");
        assert_eq!(offered(16 * GIB, Some(0)), 14 * 1024);
        assert_eq!(offered(0, None), FALLBACK_MIB);
        assert_eq!(offered(1, None), 1);
    }

    #[test]
    fn this_machine_says_how_much_it_has() {
        assert!(offered_memory_mib() > 256);
    }
}
