//! Debian's Rust compiler, unpacked into a cache folder, with a wasm standard library built from Debian's sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{REMEDY, TARGET, clean_cargo, output, remaps};
use crate::process::{announce, run};

/// The package that the standard library is built from. It names the version of them all.
pub(super) const SOURCE_PACKAGE: &str = "rust-web-src";

/// The version of Debian's packages that apt would fetch, where it knows one.
fn version() -> Option<String> {
    let policy = output(Command::new("apt-cache").args(["policy", SOURCE_PACKAGE])).ok()?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// The newest version of Debian's compiler and the folder it is unpacked in, made on first use.
pub(super) fn root(cache: &Path) -> Result<(String, PathBuf)> {
    fs::create_dir_all(cache)?;
    // Held until the end: a second process waits rather than making the same.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if let Some(version) = version() {
        let ready = cache.join(&version);
        if ready.exists() {
            return Ok((version, ready));
        }
    }
    if nix::unistd::geteuid().is_root() {
        // Old lists name packages that are no longer to be had.
        run(Command::new("apt-get").args(["update", "-qq"])).context(REMEDY)?;
    }
    let version = version().context(REMEDY)?;
    let ready = cache.join(&version);
    if !ready.exists() {
        announce(&format!(
            "fetching Debian's Rust {version} (about 150 MB) and building its wasm library, some 3 minutes"
        ));
        make_root(cache, &version, &ready)?;
    }
    Ok((version, ready))
}

/// The folder appears under its final name only when it is complete.
fn make_root(cache: &Path, version: &str, ready: &Path) -> Result<()> {
    let work = cache.join("unfinished");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    unpack_packages(&work, version)?;
    build_std(&work)?;
    for unneeded in ["usr/share", "usr/src", "usr/lib/rustlib/src"] {
        let path = work.join(unneeded);
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
    }
    fs::rename(&work, ready)?;
    Ok(())
}

fn unpack_packages(root: &Path, version: &str) -> Result<()> {
    let upstream = version.split('+').next().unwrap_or(version);
    let (minor, _) = upstream
        .rsplit_once('.')
        .context("an odd version of Debian's Rust")?;
    let library = format!("libstd-rust-web-{minor}");
    let depends =
        output(Command::new("apt-cache").args(["depends", &format!("{library}={version}")]))?;
    let llvm = depends
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("Depends: ")
                .filter(|name| name.starts_with("libllvm"))
        })
        .with_context(|| format!("{library} names no LLVM library to depend on"))?;

    let packages = root.join("packages");
    fs::create_dir_all(&packages)?;
    run(Command::new("apt-get")
        .args(["-oAPT::Sandbox::User=root", "download", "-qq", llvm])
        .current_dir(&packages)
        .args(
            ["rustc-web", "libstd-rust-web-dev", &library, SOURCE_PACKAGE]
                .map(|name| format!("{name}={version}")),
        ))
    .context("apt could not fetch Debian's Rust packages; `apt-get update` may help")?;
    for entry in fs::read_dir(&packages)? {
        run(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(root))?;
    }
    fs::remove_dir_all(packages)?;
    Ok(())
}

/// Builds the standard library for wasm and puts it where the compiler looks for it.
fn build_std(root: &Path) -> Result<()> {
    let stub = root.join("stub");
    fs::create_dir_all(stub.join("src"))?;
    fs::write(stub.join("src/lib.rs"), "")?;
    // The stub's manifest stands at the root, so that cargo takes the library's sources as below the workspace and
    // leaves their absolute path out of the symbol names.
    let manifest = root.join("Cargo.toml");
    fs::write(
        &manifest,
        "[package]\nname = \"stub\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\npath = \"stub/src/lib.rs\"\n[workspace]\n[profile.release]\ndebug = 0\n",
    )?;

    let (rustc, libraries) = paths(root)?;
    let target_dir = stub.join("target");
    // Relative, since the sources are below the workspace.
    let mut flags = remaps(&[("usr/lib/rustlib/src/rust".into(), "/rustc")])?;
    // Without bitcode, link-time optimisation of the guests would stop at the library.
    flags.push("-Cembed-bitcode=yes".into());
    let mut build = clean_cargo(&rustc, Some(&libraries), &target_dir, &flags);
    build
        .env("RUSTC_BOOTSTRAP", "1")
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=std,panic_abort",
            "--manifest-path",
        ])
        .arg(&manifest);
    run(&mut build).context("the wasm standard library did not build")?;

    let built = target_dir.join(TARGET).join("release/deps");
    let installed = root.join("usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&installed)?;
    for entry in fs::read_dir(built)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".rlib") && !name.starts_with("libstub") {
            fs::copy(&path, installed.join(name))?;
        }
    }
    fs::remove_dir_all(stub)?;
    fs::remove_file(&manifest)?;
    let _ = fs::remove_file(root.join("Cargo.lock"));
    Ok(())
}

/// The compiler below the unpacked packages, and its shared libraries.
pub(super) fn paths(root: &Path) -> Result<(PathBuf, PathBuf)> {
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu"))
        {
            return Ok((root.join("usr/bin/rustc"), path));
        }
    }
    bail!(
        "{} holds no unpacked compiler; remove it and try again",
        root.display()
    )
}
