//! The sandbox's figures: what a run costs beside its guest's own work.
//!
//! A tiny task from request to outcome, and its part inside of the process beside wasmtime alone; the first result of large
//! components that are compiled already; and what metering and determinism cost loops that do nothing else.

mod components;
mod metering;
mod task;
mod warm;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};

use crate::{
    figure::{Figure, Found},
    host::{Host, say},
    plot, report,
};

const BENCH: &str = "sandbox";

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// A tiny task: warm, cold, and inside of the process.
    Warm,
    /// JavaScript and Python.
    Components,
    /// Fuel and the deterministic profile.
    Metering,
}

const PARTS: [Part; 3] = [Part::Warm, Part::Components, Part::Metering];

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// One JSON line per figure on stdout, nothing else.
    #[arg(long)]
    json: bool,
    /// Few and short rounds: shows that everything works, and proves nothing. Writes no files.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Where the table and the plot are written; nothing is written unless all parts are measured in full.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Where the tools that make components are kept.
    #[arg(long, env = "AEVIR_TOOLS")]
    tools: PathBuf,
}

/// How it is measured, and what came out so far.
struct Bench {
    quick: bool,
    tools: PathBuf,
    found: Found,
}

impl Bench {
    fn say(&self, what: &str) {
        say(what);
    }

    /// `full` rounds, or a few.
    fn rounds(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(20) } else { full }
    }

    fn add(&mut self, figure: Figure) {
        self.found.add(figure);
    }
}

/// Measures what `options` ask for.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let host = Host::look(&std::env::temp_dir())?;
    let parts: Vec<Part> = match options.only.is_empty() {
        true => PARTS.to_vec(),
        false => options.only.clone(),
    };
    let mut bench = Bench {
        quick: options.quick,
        tools: options.tools.clone(),
        found: Found::new(options.json),
    };
    let mut latencies = Vec::new();
    for part in &parts {
        match part {
            Part::Warm => latencies = warm::measure(&mut bench).await?,
            Part::Components => components::measure(&mut bench).await?,
            Part::Metering => metering::measure(&mut bench)?,
        }
    }
    bench.found.show();
    if !options.quick && parts.len() == PARTS.len() {
        std::fs::create_dir_all(&options.out)
            .with_context(|| format!("{} can't be made", options.out.display()))?;
        draw(&latencies, options)?;
        let conditions =
            "Program and executors are built for release; executors are confined as a node's are.";
        report::write(&options.out, BENCH, bench.found.all(), &host, conditions)?;
        bench.say(&format!("written to {}", options.out.display()));
    }
    Ok(())
}

/// An error of wasmtime, whose type is not everybody's.
fn plain_error<T>(result: wasmtime::Result<T>) -> Result<T> {
    result.map_err(|error| anyhow!("{error:#}"))
}

/// The warm run's latency by percentile. `latencies` are sorted microseconds.
fn draw(latencies: &[f64], options: &Options) -> Result<()> {
    let points = (1..100).map(|percent| {
        let at = latencies.len() * percent / 100;
        (
            percent as f64,
            latencies.get(at).copied().unwrap_or_default(),
        )
    });
    let frame = plot::Frame {
        title: "A tiny task from request to outcome, executor ready",
        x: "percentile",
        y: "µs",
    };
    let line = plot::Line {
        name: "warm run".into(),
        points: points.collect(),
    };
    plot::draw(&options.out.join("sandbox-warm.svg"), &frame, &[line])
}
