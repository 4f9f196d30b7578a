//! The C programs of `examples/programs`: `cargo xtask guests` builds them beside the guests in Rust, and compares what is committed.
//!
//! A linker writes the same bytes from the same source with the same compiler, so that a difference is a changed source or another compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{announce, find_program, run};

/// The compiler, by its major version: another makes other bytes.
const COMPILER: &str = "clang-19";
/// What brings it, and the C library for WASI.
const PACKAGES: &str = "clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32";

/// Builds every C program anew, or compares it with what is committed.
pub(crate) fn build(root: &Path, check: bool) -> Result<()> {
    let folder = root.join("examples/programs");
    let compiler = find_program(COMPILER, &[])
        .with_context(|| format!("{COMPILER} is missing; on Debian: apt-get install {PACKAGES}"))?;
    for source in sources(&folder)? {
        let committed = source.with_extension("wasm");
        announce(&format!("building {} with {COMPILER}", source.display()));
        let built = tempfile::Builder::new().suffix(".wasm").tempfile()?;
        run(Command::new(&compiler)
            .args([
                "--target=wasm32-wasi",
                "--sysroot=/usr",
                "-Os",
                "-Wl,--strip-all",
                "-o",
            ])
            .arg(built.path())
            // Its name alone: a path could get into the bytes.
            .arg(source.file_name().unwrap_or_default())
            .current_dir(&folder))?;
        let bytes = fs::read(built.path())?;
        if check {
            ensure!(
                fs::read(&committed).is_ok_and(|old| old == bytes),
                "{} is not what its source makes; run `cargo xtask guests` and commit",
                committed.display()
            );
        } else {
            fs::write(&committed, bytes)
                .with_context(|| format!("can't write {}", committed.display()))?;
        }
    }
    Ok(())
}

/// The programs' sources, by name.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let files = files
        .map(|file| Ok(file?.path()))
        .collect::<Result<Vec<_>>>()?;
    let is_c = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "c");
    let mut sources: Vec<_> = files.into_iter().filter(is_c).collect();
    sources.sort();
    Ok(sources)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::sources;

    #[test]
    fn every_c_source_is_a_program() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.c", "a.c", "a.wasm", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = sources(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.c", "b.c"]);
        assert!(sources(&folder.path().join("none")).is_err());
    }
}
