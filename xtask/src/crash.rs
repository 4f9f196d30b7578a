//! `cargo xtask crash`: the crash tests with as many crashes as one wants. They are in `cli/tests/e2e/crash.rs`.

use anyhow::Result;

use crate::{
    process::{announce, cargo, run},
    setup::{Purpose, setup},
};

/// Kills servers and databases under load, `cycles` times on each kind of database.
///
/// # Errors
/// When a component can't be had, or something acknowledged was lost or doubled.
pub(crate) fn crash(cycles: u32) -> Result<()> {
    setup(Purpose::Test)?;
    announce(&format!(
        "crashing, {cycles} times on SQLite and {cycles} times on PostgreSQL"
    ));
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--test", "e2e", "--"])
        .args(["crash::", "--nocapture", "--test-threads=1"])
        .env("AEVIR_CRASH_CYCLES", cycles.to_string());
    run(&mut command)
}
