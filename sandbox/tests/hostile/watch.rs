//! The most memory that this process's children, and theirs, hold at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often is looked. A peak is not missed between two looks, for the kernel keeps each process's highest value; a process
/// that lives shorter than this can be.
const INTERVAL: Duration = Duration::from_millis(2);
const KIB: u64 = 1024;

/// A thread that watches.
pub(crate) struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Peak {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut processes = Processes::new();
        processes.look();
        processes.forget_peaks();
        let thread = std::thread::spawn(move || {
            loop {
                processes.look();
                if stopped.load(Ordering::Relaxed) {
                    return processes.peaks.values().sum();
                }
                std::thread::sleep(INTERVAL);
            }
        });
        Self { stop, thread }
    }

    /// The sum of the peaks of all processes that were seen, in bytes: an upper bound of what they held together.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Processes {
    /// This program's own file.
    program: Option<PathBuf>,
    /// Descendants that still run.
    ours: BTreeSet<u32>,
    foreign: BTreeSet<u32>,
    peaks: BTreeMap<u32, u64>,
}

impl Processes {
    fn new() -> Self {
        Self {
            program: fs::read_link("/proc/self/exe").ok(),
            ours: BTreeSet::new(),
            foreign: BTreeSet::new(),
            peaks: BTreeMap::new(),
        }
    }

    fn look(&mut self) {
        let entries = fs::read_dir("/proc").unwrap();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids: BTreeSet<u32> = names.filter_map(|name| name.parse().ok()).collect();
        self.ours.retain(|pid| pids.contains(pid));
        self.foreign.retain(|pid| pids.contains(pid));
        for pid in pids {
            if self.foreign.contains(&pid) {
                continue;
            }
            // A process that was forked and has not become its program yet: what it holds is ours. Looked at before its status is
            // read, or it might become its program in between and be told with the memory of the one before.
            if fs::read_link(format!("/proc/{pid}/exe")).ok() == self.program {
                continue;
            }
            let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
                continue;
            };
            let parent = field(&status, "PPid:");
            let is_ours = |parent| {
                parent == u64::from(std::process::id()) || self.ours.contains(&(parent as u32))
            };
            if self.ours.contains(&pid) || parent.is_some_and(is_ours) {
                self.ours.insert(pid);
                let peak = field(&status, "VmHWM:").unwrap_or(0) * KIB;
                let known = self.peaks.entry(pid).or_default();
                *known = peak.max(*known);
            } else {
                self.foreign.insert(pid);
            }
        }
    }

    /// Begins anew for processes that outlive a run.
    fn forget_peaks(&mut self) {
        for pid in &self.ours {
            // 5 resets the highest resident size (proc_pid_clear_refs(5)).
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        self.peaks.clear();
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
