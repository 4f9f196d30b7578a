//! `cargo xtask bench`: builds the measuring program for release, and the program that it measures, and becomes it.
//!
//! It is a crate of its own (`xtask/bench`), so that the other chores need not build what it measures.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, Result};

use crate::{
    process::{announce, cache, cargo, run, target_directory, workspace},
    setup::{Purpose, setup},
};

const PACKAGE: &str = "aevir-bench";
/// What some figures are of as a whole, such as an audit.
const PROGRAM: &str = "aevir";
/// The bench of plans, which makes a market anew for each round.
const PLAN: &str = "plan";
/// The variable by which the allocator keeps what a round has freed, as a server keeps what it works with: given back to the system and taken
/// again, it would be zeroed by the kernel within the time of the next round's placements.
const KEEP_FREED: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "-1");

/// Does not return when all goes well: the process becomes the bench.
///
/// # Errors
/// When the set-up or the build fails, or the program can't be started.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    setup(Purpose::Bench)?;
    announce("building for release (the first time about fifteen minutes on two cores)");
    run(cargo().args([
        "build",
        "--release",
        "--package",
        PACKAGE,
        "--package",
        PROGRAM,
    ]))?;
    let built = target_directory()?.join("release");
    let program = built.join(PACKAGE);
    let is_plan = args.first().is_some_and(|bench| bench == PLAN);
    let error = Command::new(&program)
        .args(args)
        .envs(is_plan.then_some(KEEP_FREED))
        .env("AEVIR_TOOLS", cache()?.join("tools"))
        .env("AEVIR_PROGRAM", built.join(PROGRAM))
        .current_dir(workspace())
        .exec();
    Err(error).with_context(|| format!("{} can't be started", program.display()))
}
