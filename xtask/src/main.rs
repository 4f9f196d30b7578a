//! The project's chores: `cargo xtask <chore>`. One way to do each.

mod bench;
mod check;
mod crash;
mod demo;
mod guests;
mod process;
mod programs;
mod setup;
mod simulate;
mod toolchains;
mod wasm_toolchain;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's chores", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what is missing on this machine; quick when nothing is.
    Setup {
        /// What is going to be run.
        #[arg(value_enum, default_value = "test")]
        purpose: setup::Purpose,
    },
    /// Set up, build, and run the platform's main job from end to end.
    Demo {
        /// Handed to `aevir demo`: `--json`, `--keep DIR`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up and run every test.
    Test {
        /// Handed to the test programs: a part of the tests' names.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Kill servers and databases in the middle of load, again and again, and check that nothing is lost or doubled.
    Crash {
        /// Crashes on SQLite, and as many on PostgreSQL.
        #[arg(long, default_value_t = 50)]
        cycles: u32,
    },
    /// Check the format, lint, and test: what has to pass before a change lands.
    Ci,
    /// Build the example guests into `examples/modules`, or check the committed ones.
    Guests(guests::GuestsArgs),
    /// Measure beside others, in the same run: `bench log`.
    Bench {
        /// Handed to the bench: what to measure, `--json`, `--quick`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// Play a market with cheats in it through the real state machine: what each strategy gains, and what gets past the rules.
    Simulate {
        /// Handed to the simulator: `--nodes 1000 --hours 24 --seed 1`, `--strategy patient`, `--json`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write the JSON Schemas under `schemas/` and the other generated documents anew.
    Schemas {
        /// Lock them: a released schema never changes again.
        #[arg(long)]
        release: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Setup { purpose } => setup::setup(purpose),
        Chore::Demo { args } => demo::demo(&args),
        Chore::Test { filter } => check::test(&filter),
        Chore::Crash { cycles } => crash::crash(cycles),
        Chore::Ci => check::ci(),
        Chore::Guests(args) => guests::run(args),
        Chore::Bench { args } => bench::bench(&args),
        Chore::Simulate { args } => simulate::simulate(&args),
        Chore::Schemas { release } => check::schemas(release),
    }
}
