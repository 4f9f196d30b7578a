//! The full audit of an export, by the program itself: every entry's schema, every signature, every command decided
//! anew, every sum; what a replay leaves out.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde::Deserialize;

use super::{Bench, replay::export};
use crate::figure::{Figure, median};

/// The audited part of the history: an audit does several times a replay's work.
const SHARE: usize = 4;

/// What is read of the program's report.
#[derive(Debug, Deserialize)]
struct Report {
    clean: bool,
    events: u64,
}

/// Measures it.
pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let program = bench.program.clone().context(
        "the audit needs `aevir` built for release: `cargo xtask bench log` builds it and names it",
    )?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("export.ndjson");
    let events = bench.history_events / SHARE;
    export(&file, events)?;
    let (mut rates, mut cores) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        bench.say(&format!(
            "audit of an export of {events} events, round {} of {}",
            round + 1,
            bench.rounds
        ));
        let (before, started) = (processor_seconds()?, Instant::now());
        let audited = audit(&program, &file)?;
        let seconds = started.elapsed().as_secs_f64();
        rates.push(audited as f64 / seconds);
        cores.push((processor_seconds()? - before) / seconds);
    }
    bench.add(Figure::alone("audit.export", median(rates), "events/s"));
    bench.add(Figure::alone(
        "audit.export.cores",
        median(cores),
        "cores busy",
    ));
    Ok(())
}

/// Audits the file; answers how many events it has.
fn audit(program: &Path, file: &Path) -> Result<u64> {
    let output = Command::new(program)
        .args(["audit", "--output", "json", "--file"])
        .arg(file)
        .output()
        .with_context(|| format!("{} can't be started", program.display()))?;
    if !output.status.success() {
        bail!(
            "the audit failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let report: Report = serde_json::from_slice(&output.stdout).context("a report is JSON")?;
    if !report.clean {
        bail!("the audit finds the history bad");
    }
    Ok(report.events)
}

/// Processor time of all processes that were started here and have ended.
fn processor_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let spent = usage.user_time() + usage.system_time();
    Ok(spent.num_microseconds() as f64 / 1e6)
}
