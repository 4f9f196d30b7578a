//! Running other programs: announced before, explained when they fail.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Says on stderr what happens next.
pub(crate) fn announce(what: &str) {
    eprintln!("==> {what}");
}

/// Runs a command whose output the user sees.
///
/// # Errors
/// When it can't be started or does not exit with zero; the message holds the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command
        .status()
        .with_context(|| format!("`{line}` can't be started"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and answers its standard output; its errors are shown.
///
/// # Errors
/// As [`run`].
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{line}` can't be started"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The cargo that runs this, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
}

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Where things live that are fetched or built once: `$HOME/.cache/aevir`.
///
/// # Errors
/// When `HOME` is not set.
pub(crate) fn cache() -> Result<PathBuf> {
    let home =
        std::env::var_os("HOME").context("HOME is not set: say where your home folder is")?;
    Ok(PathBuf::from(home).join(".cache/aevir"))
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When cargo does not say.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(workspace())
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(metadata.target_directory.into())
}

/// The first of these files that exists.
pub(crate) fn find_program(name: &str, extra: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(extra.iter().cloned());
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("false").arg("--really")).unwrap_err();
        assert!(
            error.to_string().contains("`false --really` failed"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("aevir-no-such-program")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("aevir-no-such-program` can't be started"),
            "{error}"
        );
    }

    #[test]
    fn programs_are_found_in_extra_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aevir-only-here");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            find_program("aevir-only-here", &[folder.path().to_owned()]),
            Some(file)
        );
        assert_eq!(find_program("aevir-nowhere", &[]), None);
    }
}
