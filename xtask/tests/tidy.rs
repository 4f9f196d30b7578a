//! Style that a machine can check.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of a source file; one that grows longer wants to be two.
const LINES_MAX: usize = 500;

/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

/// What the pure domain must not use, and why. Whole words.
const IMPURE: &[(&str, &str)] = &[
    ("f32", "floating point differs between machines"),
    ("f64", "floating point differs between machines"),
    ("SystemTime", "time arrives in the decision's context"),
    ("Instant", "time arrives in the decision's context"),
    ("rand", "randomness arrives in the decision's context"),
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no Rust file below {}", folder.display());
    found
}

/// A line without its comment. Good enough: no string in the sources checked with it holds two slashes.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

fn fail_on(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources(&root())
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| format!("{}: begin with a `//!` comment", path.display()));
    fail_on(silent.collect());
}

#[test]
fn no_file_is_too_long() {
    let long = sources(&root())
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines, {LINES_MAX} is the most", path.display()));
    fail_on(long.collect());
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let mut complaints = Vec::new();
    for (path, text) in sources(&root()) {
        for (number, line) in text.lines().enumerate() {
            for mark in &marks {
                if code(line).contains(mark.as_str()) {
                    complaints.push(format!("{}:{}: {mark}", path.display(), number + 1));
                }
            }
        }
    }
    fail_on(complaints);
}

#[test]
fn the_domain_is_pure() {
    let mut complaints = Vec::new();
    for (path, text) in sources(&root().join("platform/src")) {
        for (number, line) in text.lines().enumerate() {
            for (word, reason) in IMPURE {
                if has_word(code(line), word) {
                    complaints.push(format!(
                        "{}:{}: {word}: {reason}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    fail_on(complaints);
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert!(has_word("let x: f64 = 1.0;", "f64"));
    assert!(!has_word("let f64s = 1;", "f64"));
    assert_eq!(code("a // f64"), "a ");
}
