//! What the figures were measured on.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::figure::median;

/// Writes of the disk's probe, and how much each writes: a page of PostgreSQL's log.
const PROBE_WRITES: usize = 200;
const PROBE_BYTES: usize = 8_192;

/// The machine, as far as it matters.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Median time of one small write with `fdatasync`.
    pub(crate) sync: Duration,
    /// Of the last minute, when the measuring began.
    pub(crate) load: f64,
}

impl Host {
    /// Looks at this machine; `disk` is where the databases will be.
    pub(crate) fn look(disk: &Path) -> Result<Self> {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: u64 = field(&memory, "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse().ok())
            .unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            processor: field(&processors, "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory_gib: kib >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            sync: sync_time(disk)?,
            load: load_average(),
        })
    }
}

/// Says on stderr what happens next, and how busy the machine is.
pub(crate) fn say(what: &str) {
    eprintln!("==> {what} (load {:.1})", load_average());
}

/// Runnable processes, averaged over the last minute.
fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// The most memory that this process had resident so far, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    peak_of(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The same out of a process's `/proc/PID/status`.
pub(crate) fn peak_of(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default() << 10
}

fn sync_time(disk: &Path) -> Result<Duration> {
    let probe = || -> std::io::Result<Vec<f64>> {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::tempfile_in(disk)?;
        let page = [7u8; PROBE_BYTES];
        let mut seconds = Vec::with_capacity(PROBE_WRITES);
        for _ in 0..PROBE_WRITES {
            let started = Instant::now();
            file.write_all_at(&page, 0)?;
            file.sync_data()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok(seconds)
    };
    let seconds =
        probe().with_context(|| format!("the disk below {} can't be probed", disk.display()))?;
    Ok(Duration::from_secs_f64(median(seconds)))
}
