//! `cargo xtask demo`: sets the machine up, builds `aevir` and becomes `aevir demo`.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, Result};

use crate::{
    process::{announce, cargo, run, target_directory},
    setup::{Purpose, setup},
};

/// Does not return when all goes well: the process becomes the demo.
///
/// # Errors
/// When the set-up or the build fails, or the program can't be started.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    setup(Purpose::Demo)?;
    announce(
        "building aevir (the first time about ten minutes on two cores: wasmtime, wgpu and sqlx are large)",
    );
    run(cargo().arg("build"))?;
    let program = target_directory()?.join("debug/aevir");
    announce("running the demo");
    let error = Command::new(&program).arg("demo").args(args).exec();
    Err(error).with_context(|| format!("{} can't be started", program.display()))
}
