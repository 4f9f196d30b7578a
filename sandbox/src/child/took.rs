//! What a compiling process takes: its processor time, which the system counts, and the most writable memory that it has at once, which the
//! system counts for [`RLIMIT_DATA`](nix::sys::resource::Resource::RLIMIT_DATA) and keeps no peak of, so that it is looked at all the time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::confine::Role;
use crate::ipc::Took;

/// Where the system says how much memory a process has, in pages.
const STATM: &str = "/proc/self/statm";
/// The field that counts what is private and writable, and the stack: from 0.
const DATA_FIELD: usize = 5;
/// Bytes of the file: seven numbers of 64 bits.
const STATM_BYTES_MAX: usize = 7 * 21;
/// How often is looked: a compiler fills some ten megabytes in this time, which the margin on the measured peak covers many times over.
const PERIOD: Duration = Duration::from_millis(2);

/// Looks at the memory of this process.
pub(super) struct Meter {
    statm: Option<Arc<File>>,
}

/// The memory of this process, looked at until this is dropped.
pub(super) struct Peak {
    seen: Arc<Seen>,
    watching: Option<(JoinHandle<()>, Arc<File>)>,
}

#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Meter {
    /// For a process of a role; only compilers are measured.
    pub(super) fn of(role: Role) -> Self {
        let statm = (role == Role::Compile).then(|| File::open(STATM));
        let opened = statm.and_then(|opened| {
            let failed = |error: &_| tracing::warn!(%error, "memory can't be measured");
            opened.inspect_err(failed).ok()
        });
        Self {
            statm: opened.map(Arc::new),
        }
    }

    /// Looks from now on.
    pub(super) fn start(&self) -> Peak {
        let seen = Arc::new(Seen::default());
        let watching = self.statm.as_ref().and_then(|statm| {
            let (file, to) = (Arc::clone(statm), Arc::clone(&seen));
            let watch = move || {
                while !to.is_over.load(Ordering::Relaxed) {
                    to.look(&file);
                    thread::sleep(PERIOD);
                }
            };
            let thread = thread::Builder::new().name("meter".into());
            let failed = |error: &_| tracing::warn!(%error, "memory can't be measured");
            let spawned = thread.spawn(watch).inspect_err(failed).ok()?;
            Some((spawned, Arc::clone(statm)))
        });
        Peak { seen, watching }
    }
}

impl Seen {
    fn look(&self, statm: &File) {
        if let Some(bytes) = data_bytes(statm) {
            self.bytes.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

impl Peak {
    /// What the process has taken by now.
    pub(super) fn took(&self) -> Took {
        if let Some((_, statm)) = &self.watching {
            self.seen.look(statm);
        }
        let peak = self.seen.bytes.load(Ordering::Relaxed);
        Took {
            cpu_ms: cpu_ms(),
            peak_bytes: Some(peak).filter(|bytes| *bytes > 0),
        }
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::Relaxed);
        if let Some((thread, _)) = self.watching.take() {
            // It can't panic, and nothing would follow from it.
            let _ = thread.join();
        }
    }
}

fn data_bytes(statm: &File) -> Option<u64> {
    let mut text = [0; STATM_BYTES_MAX];
    let length = statm.read_at(&mut text, 0).ok()?;
    // SAFETY: it reads a constant of the system.
    let page = u64::try_from(unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) }).ok()?;
    pages(std::str::from_utf8(text.get(..length)?).ok()?)?.checked_mul(page)
}

fn pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(DATA_FIELD)?.parse().ok()
}

fn cpu_ms() -> u64 {
    let ms = |time: TimeVal| time.tv_sec() * 1_000 + time.tv_usec() / 1_000;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        u64::try_from(ms(usage.user_time()) + ms(usage.system_time())).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_given_back_counts() {
        assert_eq!(pages("4133 1522 1203 2 0 977 0\n"), Some(977));
        assert_eq!(pages("4133"), None);
        let peak = Meter::of(Role::Compile).start();
        let before = peak.took().peak_bytes.unwrap();
        let mut held = vec![1_u8; 256 << 20];
        thread::sleep(Duration::from_millis(50));
        held[0] = 2;
        drop(held);
        let after = peak.took();
        assert!(
            after.peak_bytes.unwrap() >= before + (200 << 20),
            "{after:?}"
        );
        assert!(Meter::of(Role::Cpu).start().took().peak_bytes.is_none());
    }
}
