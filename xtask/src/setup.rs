//! `cargo xtask setup`: fetches what is missing on this machine, and nothing that is there already.
//!
//! The demo needs the Vulkan loader (`libvulkan1`) and a driver: SwiftShader, taken out of Debian's `chromium-common`
//! without installing that, is used where no GPU is. The tests need PostgreSQL's programs, Python and an S3
//! server besides. What makes guests of Python and JavaScript is fetched when it is asked for ([`toolchains`]).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{announce, cache, cargo, find_program, run},
    toolchains,
};

/// What is going to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Purpose {
    /// The demo, or the platform itself.
    Demo,
    /// The tests: all of the above, PostgreSQL, Python and an S3 server.
    Test,
    /// Measuring: PostgreSQL, and npm, from where peers come.
    Bench,
    /// The tests of guests in Python and JavaScript: their tools, and the guests themselves.
    Toolchains,
}

/// The S3 server that the object store is tested against. 0.17 wants a newer toolchain.
const S3_SERVER: &str = "s3s-fs";
const S3_SERVER_VERSION: &str = "0.14.1";
/// SwiftShader's files in the package that brings it.
const SWIFTSHADER_FILES: [&str; 2] = ["libvk_swiftshader.so", "vk_swiftshader_icd.json"];
const SWIFTSHADER_PACKAGE: &str = "chromium-common";

/// Fetches what `purpose` needs.
///
/// # Errors
/// When a part could not be had; the message says how to get it by hand.
pub(crate) fn setup(purpose: Purpose) -> Result<()> {
    match purpose {
        Purpose::Demo => {
            vulkan_loader()?;
            swiftshader()?;
        }
        Purpose::Bench => {
            postgres()?;
            npm()?;
        }
        Purpose::Toolchains => {
            python()?;
            npm()?;
            toolchains::make()?;
        }
        Purpose::Test => {
            vulkan_loader()?;
            swiftshader()?;
            postgres()?;
            python()?;
            s3_server()?;
        }
    }
    Ok(())
}

/// Where tools that the tests start are put.
pub(crate) fn tools_bin() -> Result<PathBuf> {
    Ok(cache()?.join("tools/bin"))
}

fn vulkan_loader() -> Result<()> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/lib/x86_64-linux-gnu",
    ];
    if folders
        .iter()
        .any(|folder| Path::new(folder).join("libvulkan.so.1").exists())
    {
        return Ok(());
    }
    install("libvulkan1", "the Vulkan loader")
}

fn swiftshader() -> Result<()> {
    let target = cache()?.join("swiftshader");
    if SWIFTSHADER_FILES
        .iter()
        .all(|name| target.join(name).is_file())
    {
        return Ok(());
    }
    announce(&format!(
        "fetching SwiftShader, a GPU in software, out of Debian's {SWIFTSHADER_PACKAGE}"
    ));
    let scratch = tempfile::tempdir().context("no temporary folder can be made")?;
    download(SWIFTSHADER_PACKAGE, scratch.path())?;
    let package = fs::read_dir(scratch.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download left no {SWIFTSHADER_PACKAGE} package"))?;
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    fs::create_dir_all(&target)?;
    for name in SWIFTSHADER_FILES {
        let source = unpacked.join("usr/lib/chromium").join(name);
        let partial = target.join(format!("{name}.partial"));
        fs::copy(&source, &partial)
            .with_context(|| format!("{SWIFTSHADER_PACKAGE} no longer holds {name}: set AEVIR_SWIFTSHADER to a folder with SwiftShader"))?;
        fs::rename(&partial, target.join(name))?;
    }
    Ok(())
}

fn postgres() -> Result<()> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folders: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    if find_program("initdb", &folders).is_some() && find_program("postgres", &folders).is_some() {
        return Ok(());
    }
    install(
        "postgresql",
        "PostgreSQL, of which the tests start a private server",
    )
}

fn python() -> Result<()> {
    if find_program("python3", &[]).is_some() {
        return Ok(());
    }
    install(
        "python3",
        "Python, in which the independent audit is written",
    )
}

fn npm() -> Result<()> {
    if find_program("npm", &[]).is_some() {
        return Ok(());
    }
    install("npm", "npm, from where the peers of the benches come")
}

fn s3_server() -> Result<()> {
    let bin = tools_bin()?;
    if bin.join(S3_SERVER).is_file() {
        return Ok(());
    }
    let root = cache()?.join("tools");
    announce(&format!(
        "building {S3_SERVER} {S3_SERVER_VERSION}, an S3 server for the tests (two to four minutes)"
    ));
    let mut install = cargo();
    install
        .args(["install", S3_SERVER, "--version", S3_SERVER_VERSION])
        .args(["--locked", "--features", "binary", "--debug", "--root"])
        .arg(&root)
        // Its own build folder, so that the workspace's is not locked meanwhile and holds nothing foreign.
        .env("CARGO_TARGET_DIR", root.join("build"));
    run(&mut install)?;
    // The build folder is several times the size of the program.
    fs::remove_dir_all(root.join("build")).ok();
    Ok(())
}

/// Installs a Debian package.
fn install(package: &str, what: &str) -> Result<()> {
    announce(&format!("installing {what} (Debian package {package})"));
    let remedy = || format!("install {what} by hand: `sudo apt-get install {package}`");
    let Some(mut apt) = privileged_apt() else {
        bail!(
            "{package} is missing, and this is neither root on a Debian system nor can it use sudo: {}",
            remedy()
        );
    };
    apt.args(["install", "-y", "-qq", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    if run(&mut apt).is_ok() {
        return Ok(());
    }
    update_lists()?;
    run(&mut apt).with_context(remedy)
}

/// Downloads a Debian package into a folder; needs no privileges.
fn download(package: &str, folder: &Path) -> Result<()> {
    let remedy = "put SwiftShader's files into a folder and name it in AEVIR_SWIFTSHADER, or use a Debian system";
    if find_program("apt-get", &[]).is_none() || find_program("dpkg", &[]).is_none() {
        bail!("apt-get and dpkg are needed to fetch {package}: {remedy}");
    }
    let mut apt = Command::new("apt-get");
    // Without its own user apt can write into our folder, and need not warn that it can't.
    apt.args(["-o", "APT::Sandbox::User=root", "download", "-qq"])
        .arg(package)
        .current_dir(folder);
    if run(apt.stdout(Stdio::null())).is_ok() {
        return Ok(());
    }
    update_lists()?;
    run(&mut apt).context(remedy)
}

/// Fetches Debian's package lists, which a fresh container lacks.
fn update_lists() -> Result<()> {
    announce("updating Debian's package lists");
    let Some(mut apt) = privileged_apt() else {
        bail!("the package lists are out of date: run `sudo apt-get update` and try again");
    };
    run(apt.args(["update", "-qq"]))
}

/// `apt-get`, as root or through a sudo that asks for no password.
fn privileged_apt() -> Option<Command> {
    find_program("apt-get", &[])?;
    if nix::unistd::geteuid().is_root() {
        return Some(Command::new("apt-get"));
    }
    let sudo = find_program("sudo", &[])?;
    let mut probe = Command::new(&sudo);
    probe
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new(sudo);
    command.args(["-n", "apt-get"]);
    Some(command)
}
