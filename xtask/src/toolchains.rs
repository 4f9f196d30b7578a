//! The guests in Python and JavaScript of `examples/programs`: components of 12 and 18 MB, too large to be checked in, made by their own tools.
//!
//! `cargo xtask setup toolchains` fetches the tools and makes the guests. `cargo xtask test` runs them where they were made, and says
//! that it does not where they were not: the tools are some hundred packages of two other languages, which nobody needs for anything else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::process::{announce, cache, run, workspace};

/// What makes components of JavaScript, and of Python. Other versions do as well; these were tried.
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// A guest, and the test that runs it.
pub(crate) struct Guest {
    /// The test's name, in `sandbox/tests/toolchains.rs`.
    pub(crate) test: &'static str,
    /// The variable by which the test is told where the guest is.
    pub(crate) variable: &'static str,
    /// What it is made of, below `examples/programs`.
    source: &'static str,
    file: &'static str,
    make: fn(&Path, &Path) -> Result<()>,
}

/// All of them.
pub(crate) const GUESTS: [Guest; 2] = [
    Guest {
        test: "python_runs",
        variable: "AEVIR_PYTHON_GUEST",
        source: "python/words.py",
        file: "words-py.wasm",
        make: python,
    },
    Guest {
        test: "javascript_runs",
        variable: "AEVIR_JAVASCRIPT_GUEST",
        source: "javascript/words.js",
        file: "words-js.wasm",
        make: javascript,
    },
];

impl Guest {
    /// Where it is, if it was made of the source as it is now.
    pub(crate) fn made(&self) -> Option<PathBuf> {
        let file = folder().ok()?.join(self.file);
        let source = workspace().join("examples/programs").join(self.source);
        (changed(&file)? >= changed(&source)?).then_some(file)
    }
}

/// Makes the guests that are missing or older than their source.
///
/// # Errors
/// When a tool can't be had, or does not take the source.
pub(crate) fn make() -> Result<()> {
    let folder = folder()?;
    for guest in GUESTS.iter().filter(|guest| guest.made().is_none()) {
        announce(&format!("making {} of {}", guest.file, guest.source));
        let partial = folder.join(format!("{}.partial", guest.file));
        (guest.make)(&folder, &partial)?;
        fs::rename(&partial, folder.join(guest.file))?;
    }
    Ok(())
}

fn folder() -> Result<PathBuf> {
    let folder = cache()?.join("tools/guests");
    fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    Ok(folder)
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

fn python(folder: &Path, out: &Path) -> Result<()> {
    let venv = folder.join("venv");
    let tool = venv.join("bin/componentize-py");
    if !tool.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("Python's venv is needed (Debian: python3-venv)")?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", COMPONENTIZE_PY]))?;
    }
    let mut componentize = Command::new(tool);
    componentize
        .args(["-d", "schemas/wit", "-w", "task", "componentize"])
        .args(["-p", "examples/programs/python", "words", "-o"])
        .arg(out)
        .current_dir(workspace());
    run(&mut componentize)
}

fn javascript(folder: &Path, out: &Path) -> Result<()> {
    // A module's packages are looked for beside and above it, so that the script and its source go to where they are.
    let programs = workspace().join("examples/programs/javascript");
    let here = folder.join("javascript");
    fs::create_dir_all(&here)?;
    if !here.join("node_modules").is_dir() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        run(npm.arg(&here).arg(COMPONENTIZE_JS))
            .context("Node.js with npm is needed (Debian: npm)")?;
    }
    for name in ["build.mjs", "words.js"] {
        fs::copy(programs.join(name), here.join(name))?;
    }
    let mut node = Command::new("node");
    node.arg("build.mjs")
        .arg(out)
        .arg(workspace().join("schemas/wit"))
        .current_dir(&here);
    run(&mut node)
}
