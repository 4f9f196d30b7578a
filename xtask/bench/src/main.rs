//! Measures Aevir beside others. Started by `cargo xtask bench`, which builds it for release.
//!
//! Every ratio is between figures of one run on one machine with the same database settings; peers take turns and
//! medians of the rounds are compared. Knows the libraries that it measures, nothing of HTTP.

mod callers;
mod figure;
mod gpu;
mod host;
mod log;
mod plan;
mod plot;
mod report;
mod sandbox;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// The allocator of the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about = "Measures Aevir beside others")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The log: append, replay, proofs, start-up.
    Log(Options),
    /// The guest's compute interface beside native wgpu.
    Gpu(gpu::Options),
    /// Runs: warm, cold, large components, metering.
    Sandbox(sandbox::Options),
    /// Placements with 10, 1,000 and 100,000 nodes.
    Plan(plan::Options),
    /// One replay in a process of its own.
    #[command(hide = true)]
    ReplayExport { file: PathBuf },
    /// What a market weighs, in a process of its own.
    #[command(hide = true)]
    WeighMarket { nodes: usize, tasks: usize },
    /// The process that runs guests.
    #[command(hide = true)]
    Executor,
}

/// How to measure.
#[derive(Debug, Clone, Args)]
struct Options {
    /// One JSON line per figure on stdout, nothing else.
    #[arg(long)]
    json: bool,
    /// Short and few rounds: shows that everything works, and proves nothing. Writes no files.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<log::Part>,
    /// Where tables and plots are written; nothing is written unless all parts are measured in full.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Where tools that peers need are kept.
    #[arg(long, env = "AEVIR_TOOLS")]
    tools: PathBuf,
    /// The program `aevir`, built for release, for what is measured through it.
    #[arg(long, env = "AEVIR_PROGRAM")]
    program: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Bench::Executor = cli.bench {
        return aevir_sandbox::executor_main();
    }
    match run(cli.bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Log(options) => tokio::runtime::Runtime::new()?.block_on(log::run(&options)),
        Bench::ReplayExport { file } => {
            println!("{}", serde_json::to_string(&log::replay_export(&file)?)?);
            Ok(())
        }
        Bench::Gpu(options) => {
            for (name, value) in aevir_gpu::select_driver().env {
                // SAFETY: nothing else runs yet in this process.
                unsafe { std::env::set_var(name, value) };
            }
            tokio::runtime::Runtime::new()?.block_on(gpu::run(&options))
        }
        Bench::Sandbox(options) => tokio::runtime::Runtime::new()?.block_on(sandbox::run(&options)),
        Bench::Plan(options) => plan::run(&options),
        Bench::WeighMarket { nodes, tasks } => {
            println!("{}", serde_json::to_string(&plan::weigh(nodes, tasks)?)?);
            Ok(())
        }
        Bench::Executor => Ok(()), // `main` did it
    }
}
