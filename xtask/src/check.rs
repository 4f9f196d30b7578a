//! `cargo xtask test`, `ci` and `schemas`: everything that says whether a change may land.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{announce, cache, cargo, command_line, run},
    setup::{Purpose, setup, tools_bin},
    toolchains::{self, Guest},
};

/// The guests' workspace, which has its own lock file and compiler.
const GUESTS: &str = "examples/Cargo.toml";
/// Parts of the names of the tests that write generated files.
const GENERATORS: [&str; 5] = [
    "schemas::",
    "golden::",
    "state_table::",
    "documents::",
    "link::tests::",
];

/// How many tests ended how.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// What did not run, and why: `name: reason`.
    skipped: Vec<String>,
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...` or `test name ... ignored, why`; other lines count
    /// nothing.
    fn add_line(&mut self, line: &str) {
        let test = line.strip_prefix("test ");
        if let Some((name, reason)) = test.and_then(|rest| rest.split_once(" ... ignored")) {
            let reason = reason.strip_prefix(", ").unwrap_or("it does not say why");
            self.skipped.push(format!("{name}: {reason}"));
            return;
        }
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split(';') {
            let Some((count, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                _ => {}
            }
        }
    }
}

/// Runs every test, of the workspace and of the guests.
///
/// # Errors
/// When a component can't be had, something does not compile, or a test fails.
pub(crate) fn test(filter: &[String]) -> Result<()> {
    setup(Purpose::Test)?;
    let mut tally = Tally::default();
    announce("testing the workspace (the first build takes about ten minutes on two cores)");
    let mut workspace = cargo();
    workspace
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(filter);
    let workspace_passed = tests(&mut workspace, &mut tally)?;
    announce("testing the guests' logic on this machine's own processor");
    let mut guests = cargo();
    guests
        .args(["test", "--manifest-path", GUESTS, "--no-fail-fast", "--"])
        .args(filter)
        // Shared with `cargo xtask guests`, which builds them for wasm.
        .env("CARGO_TARGET_DIR", cache()?.join("guests-target"));
    let guests_passed = tests(&mut guests, &mut tally)?;
    let toolchains_passed = other_languages(filter, &mut tally)?;

    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!(
        "{passed} passed, {failed} failed, {} skipped",
        skipped.len()
    );
    for test in &skipped {
        println!("  skipped: {test}");
    }
    if !workspace_passed || !guests_passed || !toolchains_passed || failed > 0 {
        bail!("the tests failed");
    }
    if passed == 0 && filter.is_empty() {
        bail!("no test ran");
    }
    Ok(())
}

/// Runs the guests in Python and JavaScript that were made on this machine, which the tests before have skipped.
fn other_languages(filter: &[String], tally: &mut Tally) -> Result<bool> {
    let is_wanted = |guest: &&Guest| {
        filter.is_empty() || filter.iter().any(|part| guest.test.contains(part.as_str()))
    };
    let mut passed = true;
    for guest in toolchains::GUESTS.iter().filter(is_wanted) {
        let Some(component) = guest.made() else {
            continue;
        };
        announce(&format!("testing {}", component.display()));
        let mut test = cargo();
        test.args(["test", "--workspace", "--test", "toolchains", "--"])
            .args(["--ignored", "--exact", guest.test])
            .env(guest.variable, component);
        passed &= tests(&mut test, tally)?;
        let name = format!("{}:", guest.test);
        tally.skipped.retain(|skipped| !skipped.starts_with(&name));
    }
    Ok(passed)
}

/// Runs a test command, shows its output and counts its results; answers whether it exited with zero.
fn tests(command: &mut Command, tally: &mut Tally) -> Result<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools_bin()?).chain(std::env::split_paths(&path));
    command
        .env("PATH", std::env::join_paths(folders)?)
        .stdout(Stdio::piped());
    let line = command_line(command);
    let mut child = command
        .spawn()
        .with_context(|| format!("`{line}` can't be started"))?;
    let stdout = child.stdout.take().context("no pipe to the tests")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        tally.add_line(&line);
        println!("{line}");
    }
    Ok(child.wait()?.success())
}

/// Formatting, lints and tests: what has to pass before a change lands.
///
/// # Errors
/// At the first of them that fails.
pub(crate) fn ci() -> Result<()> {
    announce("checking the format");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--all", "--check", "--manifest-path", GUESTS]))?;
    announce("linting");
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--"]);
    run(clippy.args(["-D", "warnings"]))?;
    test(&[])
}

/// Writes everything anew that is generated from the Rust types: the JSON Schemas and golden entries under `schemas/`,
/// the table of states in ARCHITECTURE.md, `docs/errors.md`. With `release` what is under `schemas/` is locked then.
///
/// # Errors
/// When something does not compile, or what is released would change.
pub(crate) fn schemas(release: bool) -> Result<()> {
    announce("writing the schemas and the documents made from them anew");
    // First the files, then, compiled with them, the tests that read them.
    run(generating().env("AEVIR_BLESS", "1"))?;
    run(generating().env("AEVIR_BLESS", "1"))?;
    if release {
        announce("locking what is under schemas/");
        run(generating().env("AEVIR_RELEASE", "1"))?;
    }
    Ok(())
}

/// The tests that write generated files, when they are told to by the environment.
fn generating() -> Command {
    let mut command = cargo();
    command.args([
        "test",
        "--workspace",
        "--lib",
        "--test",
        "scenarios",
        "--test",
        "api",
        "--",
    ]);
    command.args(GENERATORS);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "test result: nonsense",
            "test a::good_one ... ok",
            "test a::slow_one ... ignored, takes a day",
            "test another ... ignored",
        ] {
            tally.add_line(line);
        }
        let expected = Tally {
            passed: 7,
            failed: 2,
            skipped: vec![
                "a::slow_one: takes a day".into(),
                "another: it does not say why".into(),
            ],
        };
        assert_eq!(tally, expected);
    }
}
