//! Plays a market with cheats in it, and says what became of them. Started by `cargo xtask simulate`, which builds it for release.
//!
//! Nodes, requesters and the clock are simulated; the rules are the real state machine's, of which nothing is bypassed. The
//! same seed gives the same document. Knows the domain, nothing of HTTP or storage.

mod agent;
mod bars;
mod book;
mod figures;
mod plot;
mod random;
mod report;
mod strategy;
mod tally;
mod terms;
#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};

use crate::{
    bars::Summary, figures::Figures, report::Document, strategy::Strategy, terms::Terms,
    world::World,
};

/// The allocator of the program that it simulates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What tasks ask for unless told otherwise: two that agree, and a third one where they do not.
const SAMPLING: &str = r#"{"quorum": 2, "replicas": 3, "adaptive": true}"#;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask simulate",
    about = "Plays a market with cheats in it through the real state machine"
)]
struct Options {
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// How long tasks come in.
    #[arg(long, default_value_t = 24)]
    hours: usize,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first one on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Only these strategies.
    #[arg(long, value_enum)]
    strategy: Vec<Strategy>,
    /// What tasks ask for, as it stands in their definitions.
    #[arg(long, default_value = SAMPLING)]
    sampling: String,
    /// Changes a field of the policy: `/stake/strikes_free=0`.
    #[arg(long, value_name = "POINTER=VALUE")]
    set: Vec<String>,
    /// Markets that play at the same time; each takes about a gigabyte with 1,000 nodes and 24 hours.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// One JSON document on stdout, nothing else.
    #[arg(long)]
    json: bool,
    /// Takes the figures from documents that `--json` wrote, and plays nothing.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from: Vec<PathBuf>,
    /// Writes table and plots into the folder of the benchmarks.
    #[arg(long)]
    write: bool,
    /// That folder.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let document = match options.from.as_slice() {
        [] => played(options)?,
        files => Document::joined(files)?,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!("{}", document.table());
    }
    if options.write {
        plot::draw(&document, &options.out)?;
        document.write(&options.out)?;
        eprintln!("written to {}", options.out.display());
    }
    Ok(())
}

/// The figures of the markets that the options ask for.
fn played(options: &Options) -> Result<Document> {
    let sampling = terms::sampling(&options.sampling)?;
    let policy = terms::policy(&options.set)?;
    let strategies = match options.strategy.as_slice() {
        [] => Strategy::value_variants(),
        some => some,
    };
    let seeds = options.seed..options.seed.saturating_add(options.seeds.max(1));
    let (policy, sampling) = (&policy, &sampling);
    let markets = strategies.iter().flat_map(|strategy| {
        seeds.clone().map(move |seed| Terms {
            nodes: options.nodes,
            hours: options.hours,
            seed,
            strategy: *strategy,
            policy: policy.clone(),
            sampling: sampling.clone(),
        })
    });
    let markets: Vec<Terms> = markets.collect();
    let mut played = play_all(&markets, options.threads)?;
    let summaries = strategies.iter().map(|strategy| {
        let runs = played.remove(strategy).unwrap_or_default();
        Summary::of(*strategy, runs)
    });
    let size = (options.nodes, options.hours);
    let sampling = serde_json::to_value(sampling)?;
    let changes = options.set.clone();
    Ok(Document::new(size, sampling, changes, summaries.collect()))
}

/// Plays all markets, some at a time; which one plays when changes nothing in any of them.
fn play_all(markets: &[Terms], threads: usize) -> Result<BTreeMap<Strategy, Vec<Figures>>> {
    let next = AtomicUsize::new(0);
    let played: Mutex<Vec<(usize, Result<Figures>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, markets.len().max(1)) {
            scope.spawn(|| {
                while let Some((n, terms)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    markets.get(n).map(|terms| (n, terms))
                } {
                    let figures = play(terms);
                    if let Ok(mut played) = played.lock() {
                        played.push((n, figures));
                    }
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap_or_default();
    played.sort_by_key(|(n, _)| *n);
    let mut by_strategy: BTreeMap<Strategy, Vec<Figures>> = BTreeMap::new();
    for (_, figures) in played {
        let figures = figures?;
        by_strategy
            .entry(figures.strategy)
            .or_default()
            .push(figures);
    }
    Ok(by_strategy)
}

/// Plays one market.
fn play(terms: &Terms) -> Result<Figures> {
    let name = format!("{} with seed {}", terms.strategy.name(), terms.seed);
    let started = Instant::now();
    let failed = || format!("the market of {name} came to a halt");
    let mut world = World::new(terms.clone()).with_context(failed)?;
    world.play().with_context(failed)?;
    let figures = Figures::of(&world);
    eprintln!(
        "{name}: {} tasks, {} events, {:.1} s",
        figures.tasks,
        figures.events,
        started.elapsed().as_secs_f64()
    );
    Ok(figures)
}
