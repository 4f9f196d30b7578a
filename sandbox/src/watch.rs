//! What an executor process takes of the machine's memory, looked at from outside while it runs a guest.
//!
//! A guest's memory is metered to the byte, and so are the buffers of its GPU; what the host keeps for it beside these (handles, batches,
//! what a driver makes of a call) is bounded call by call. This is the wall behind all of that, which needs no count to be right.

use std::fs;
use std::time::Duration;

use crate::limits::Limits;

/// Bytes that a process may take beyond what its run's limits grant: the runtime, what the host keeps for a guest, and above all a driver's
/// compiler, which takes up to 940 MiB for the largest kernels that are let through (a thousand vectors that live across a barrier).
pub(crate) const HOST_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How often is looked. A process gets some hundred megabytes from the system in this time; looking costs some 20 us.
const PERIOD: Duration = Duration::from_millis(50);
/// Lines of `/proc/PID/status` that count: memory of the process's own, and memory that it shares without a file. Pages of files are the
/// system's cache. What a taken-over process keeps in memory files that it has not mapped no line tells; a guest can't make any.
const COUNTED: [&str; 2] = ["RssAnon:", "RssShmem:"];
/// The same where the system tells them: what went to swap is as much taken as what did not, and so are the tables of its pages.
const COUNTED_TOO: [&str; 2] = ["VmSwap:", "VmPTE:"];
const KIB: u64 = 1024;

/// Most bytes that a process may take for a run. A software GPU's memory is the machine's.
pub(crate) fn allowance(limits: &Limits, gpu: bool, host_bytes_max: u64) -> u64 {
    let gpu = if gpu { limits.gpu.memory_bytes } else { 0 };
    let guest = limits.memory_bytes.saturating_add(gpu);
    guest.saturating_add(host_bytes_max)
}

/// Comes back when the process takes more than `bytes_max`; never, if it does not.
pub(crate) async fn passed(pid: Option<u32>, bytes_max: u64) {
    let Some(pid) = pid else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(PERIOD).await;
        // One that is gone, or that can't be looked at, is not known to take anything.
        if held(pid).is_some_and(|bytes| bytes > bytes_max) {
            return;
        }
    }
}

/// Bytes that a process holds.
pub(crate) fn held(pid: u32) -> Option<u64> {
    sum(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn sum(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let more: u64 = COUNTED_TOO.into_iter().filter_map(kib).sum();
    COUNTED
        .into_iter()
        .try_fold(more * KIB, |sum, name| Some(sum + kib(name)? * KIB))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_process_holds_is_read() {
        let status = "VmRSS:\t    9000 kB\nRssAnon:\t    4000 kB\nRssFile:\t    4900 kB\nRssShmem:\t     100 kB\n";
        assert_eq!(sum(status), Some(4_100 * KIB));
        let swapped = format!("{status}VmPTE:\t      12 kB\nVmSwap:\t     500 kB\n");
        assert_eq!(sum(&swapped), Some(4_612 * KIB));
        assert_eq!(sum("VmRSS: 1 kB\n"), None);
        let before = held(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = held(std::process::id()).unwrap();
        assert!(
            after >= before + (48 << 20),
            "{before} {after} {}",
            touched[1]
        );
    }

    #[test]
    fn a_gpus_memory_counts_where_there_is_one() {
        let limits = Limits::default();
        let without = allowance(&limits, false, 5);
        assert_eq!(without, limits.memory_bytes + 5);
        assert_eq!(
            allowance(&limits, true, 5),
            without + limits.gpu.memory_bytes
        );
    }
}
