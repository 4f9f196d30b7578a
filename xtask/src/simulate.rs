//! `cargo xtask simulate`: builds the simulator for release, and becomes it.
//!
//! It is a crate of its own (`xtask/simulate`), so that the other chores need not build the domain.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, Result};

use crate::process::{announce, cargo, run, target_directory, workspace};

const PACKAGE: &str = "aevir-simulate";

/// Does not return when all goes well: the process becomes the simulator.
///
/// # Errors
/// When the build fails, or the program can't be started.
pub(crate) fn simulate(args: &[String]) -> Result<()> {
    announce("building for release (the first time about five minutes on two cores)");
    run(cargo().args(["build", "--release", "--package", PACKAGE]))?;
    let program = target_directory()?.join("release").join(PACKAGE);
    let error = Command::new(&program)
        .args(args)
        .current_dir(workspace())
        .exec();
    Err(error).with_context(|| format!("{} can't be started", program.display()))
}
