//! How much memory a machine has for runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sysinfo::{MemoryRefreshKind, System};

const MIB: u64 = 1024 * 1024;
/// One of so many parts of a machine's memory is not offered: its system, the agent, and what executors need beside their guests lie there.
/// Offered in full, it would be given out, and runs would end by its lack, which is the node's fault.
const KEPT_PART: u64 = 8;
/// Memory offered where the system does not say how much there is, in MiB.
const FALLBACK_MIB: u32 = 1024;

/// What a node offers unless its operator says how much: most of the machine's memory, or of what its control groups may use of that. In MiB.
pub fn offered_memory_mib() -> u32 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = system.total_memory();
    offered(machine, group_limit(Path::new("/")))
}

/// The least bound of this process's control group and of those around it, in bytes ([version 2](https://docs.kernel.org/admin-guide/cgroup-v2.html),
/// and 1), of a system with this root; none where no group has one. Of a container only its own groups are seen, at the root of what is mounted.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounted = root.join("sys/fs/cgroup");
    let bounds = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (mount, file) = match controllers {
            "" => (mounted.clone(), "memory.max"),
            v1 if v1.split(',').any(|name| name == "memory") => {
                (mounted.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        least_around(&mount, path, file)
    });
    bounds.min()
}

/// Of a group and those around it, up to the mount.
fn least_around(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = PathBuf::from(group.trim_start_matches('/'));
    let around = group.ancestors().map(|group| mount.join(group).join(file));
    // A group without a bound has `max` there, which is no number.
    let bounds = around.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    bounds.min()
}

/// Of a machine with so many bytes, or none that it tells, and of a group's bound.
fn offered(machine: u64, group: Option<u64>) -> u32 {
    let bytes = match machine {
        0 => group.unwrap_or(0),
        machine => group.map_or(machine, |group| group.min(machine)),
    };
    if bytes == 0 {
        return FALLBACK_MIB;
    }
    let mib = (bytes - bytes / KEPT_PART) / MIB;
    u32::try_from(mib).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_part_is_kept_of_what_may_be_used() {
        const GIB: u64 = 1024 * MIB;
        assert_eq!(offered(16 * GIB, None), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(16 * GIB)), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(u64::MAX)), 14 * 1024);
        assert_eq!(offered(16 * GIB, Some(2 * GIB)), 1_792, "a container's");
        assert_eq!(offered(0, Some(2 * GIB)), 1_792);
        assert_eq!(offered(0, None), FALLBACK_MIB);
        assert_eq!(offered(1, None), 1);
    }

    #[test]
    fn the_least_bound_of_all_groups_around_counts() {
        let system = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let file = system.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let limit = || group_limit(system.path());
        assert_eq!(limit(), None);
        put("proc/self/cgroup", "0::/user.slice/node.service\n");
        assert_eq!(limit(), None);
        put("sys/fs/cgroup/user.slice/node.service/memory.max", "max\n");
        assert_eq!(limit(), None);
        put("sys/fs/cgroup/user.slice/memory.max", "3000\n");
        assert_eq!(limit(), Some(3_000), "of the slice around it");
        put("sys/fs/cgroup/user.slice/node.service/memory.max", "2000\n");
        assert_eq!(limit(), Some(2_000));
        put("sys/fs/cgroup/memory.max", "1000\n");
        assert_eq!(limit(), Some(1_000), "a container's root");
        put(
            "proc/self/cgroup",
            "5:cpu,cpuacct:/a\n4:hugetlb,memory:/a/b\n0::/gone\n",
        );
        put("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "900\n");
        assert_eq!(limit(), Some(900), "version 1");
        put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "800\n");
        assert_eq!(limit(), Some(800));
    }

    #[test]
    fn this_machine_says_how_much_it_has() {
        assert!(offered_memory_mib() > 256);
    }
}
