//! `cargo xtask guests`: builds the example guests into `examples/modules`, and checks that what is committed there is
//! what the sources make.
//!
//! The components are committed, so that tests and the demo need no wasm compiler. `digests.json` beside them says for
//! each the SHA-256 of its bytes and of the sources it was made from, and which compiler made it. Three checks rest on
//! that:
//!
//! - `--check-sources` needs no compiler: the bytes have their digest, and the sources have not changed since.
//! - `--check` builds again and compares bytes. Another compiler makes other bytes from the same sources, so this needs
//!   the one that is named in `digests.json` and says so where it is not to be had, rather than passing.
//! - Without a flag everything is built and written anew; commit the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{CrateType, Metadata, MetadataCommand, Package};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::process::{self, announce};
use crate::programs;
use crate::wasm_toolchain::{Compiler, TARGET, Toolchain};

/// The package of the worlds that the guests implement (`schemas/wit`), and its version.
const WORLDS: (&str, &str) = ("aevir:task", "1.0.0");
/// The world of a guest whose manifest names none in `package.metadata.aevir.world`.
const DEFAULT_WORLD: &str = "task";

/// Builds the example guests, or checks the committed ones.
#[derive(Args, Debug)]
pub(crate) struct GuestsArgs {
    /// Build again and compare with the committed components, byte for byte.
    #[arg(long, conflicts_with = "check_sources")]
    check: bool,
    /// Check, without a wasm compiler, that the committed components belong to the committed sources.
    #[arg(long)]
    check_sources: bool,
}

/// `digests.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Digests {
    /// What made the components.
    compiler: Compiler,
    /// By name: the file is `<name>.wasm`.
    modules: BTreeMap<String, Module>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    /// Of the component's bytes.
    sha256: String,
    /// Bytes.
    size: u64,
    world: String,
    /// SHA-256 over everything it is compiled from; see [`sources_digest`].
    sources: String,
}

/// Where everything is.
struct Folders {
    root: PathBuf,
    modules: PathBuf,
    toolchains: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: GuestsArgs) -> Result<()> {
    let folders = Folders::find()?;
    let guests = Guests::read(&folders)?;
    if args.check_sources {
        return check_sources(&folders, &guests);
    }
    if args.check {
        check_sources(&folders, &guests)?;
        check_bytes(&folders, &guests)?;
        return programs::build(&folders.root, true);
    }
    let toolchain = Toolchain::find(&folders.toolchains, None)?;
    let built = build(&folders, &guests, &toolchain)?;
    write(&folders, &guests, &built, toolchain.compiler)?;
    programs::build(&folders.root, false)
}

impl Folders {
    fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in the workspace")?;
        let home = std::env::home_dir().context("there is no home directory")?;
        Ok(Self {
            root: root.to_path_buf(),
            modules: root.join("examples/modules"),
            toolchains: home.join(".cache/aevir/wasm-rust"),
        })
    }

    fn manifest(&self) -> PathBuf {
        self.root.join("examples/Cargo.toml")
    }
}

/// The guests of the examples' workspace, by name.
struct Guests {
    /// Their sources' digests.
    sources: BTreeMap<String, String>,
    /// Their worlds.
    worlds: BTreeMap<String, String>,
}

impl Guests {
    /// Every package of the examples' workspace that makes a dynamic library is a guest.
    fn read(folders: &Folders) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(folders.manifest())
            .no_deps()
            .exec()?;
        let (mut sources, mut worlds) = (BTreeMap::new(), BTreeMap::new());
        for guest in metadata.workspace_packages() {
            let targets = &mut guest.targets.iter();
            if !targets.any(|target| target.crate_types.contains(&CrateType::CDyLib)) {
                continue;
            }
            let name = guest.name.to_string();
            let digest = sources_digest(&folders.root, &metadata, guest)?;
            sources.insert(name.clone(), digest);
            let world = guest.metadata["aevir"]["world"].as_str();
            let world = world.unwrap_or(DEFAULT_WORLD);
            worlds.insert(name, format!("{}/{world}@{}", WORLDS.0, WORLDS.1));
        }
        Ok(Self { sources, worlds })
    }
}

/// SHA-256 over what a guest is compiled from: the manifests, lock file and interface that all share, and the `src` and
/// manifest of the guest and of the workspace's packages that it uses. Of each file in the order of the paths: path
/// relative to the repository, a zero byte, length (u64, little endian), content.
fn sources_digest(root: &Path, metadata: &Metadata, guest: &Package) -> Result<String> {
    let mut files = BTreeSet::new();
    for shared in ["examples/Cargo.toml", "examples/Cargo.lock"] {
        files.insert(root.join(shared));
    }
    collect_files(&root.join("schemas/wit"), &mut files)?;
    for folder in package_folders(metadata, guest)? {
        files.insert(folder.join("Cargo.toml"));
        collect_files(&folder.join("src"), &mut files)?;
    }
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
        hash.update(file.strip_prefix(root)?.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(hex::encode(hash.finalize()))
}

/// The folders of a package and of the workspace's packages that it depends on, directly or not.
fn package_folders(metadata: &Metadata, package: &Package) -> Result<BTreeSet<PathBuf>> {
    let members = metadata.workspace_packages();
    let mut folders = BTreeSet::new();
    let mut waiting = vec![package];
    while let Some(package) = waiting.pop() {
        let folder = package
            .manifest_path
            .parent()
            .context("a manifest is in a folder")?;
        if !folders.insert(folder.as_std_path().to_path_buf()) {
            continue;
        }
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            waiting.extend(
                members
                    .iter()
                    .filter(|member| *member.name == dependency.name),
            );
        }
    }
    Ok(folders)
}

fn collect_files(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// Compiles all guests; their bytes by name.
fn build(
    folders: &Folders,
    guests: &Guests,
    toolchain: &Toolchain,
) -> Result<BTreeMap<String, Vec<u8>>> {
    announce(&format!("building the guests with {}", toolchain.compiler));
    let mut cargo = toolchain.cargo()?;
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--workspace",
            "--target",
            TARGET,
        ])
        // Cargo reads configuration from the working directory up, and names the workspace's files relative to it.
        .current_dir(folders.root.join("examples"));
    process::run(&mut cargo).context("the guests don't build")?;
    let artefacts = toolchain.artefacts();
    let read = |name: &String| -> Result<_> {
        let path = artefacts.join(format!("{}.wasm", name.replace('-', "_")));
        Ok((
            name.clone(),
            fs::read(&path).with_context(|| format!("can't read {}", path.display()))?,
        ))
    };
    guests.sources.keys().map(read).collect()
}

fn write(
    folders: &Folders,
    guests: &Guests,
    built: &BTreeMap<String, Vec<u8>>,
    compiler: Compiler,
) -> Result<()> {
    fs::create_dir_all(&folders.modules)?;
    for entry in fs::read_dir(&folders.modules)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && !built.contains_key(&*stem)
        {
            fs::remove_file(&path)?;
            announce(&format!("removed {}", path.display()));
        }
    }
    let mut modules = BTreeMap::new();
    for (name, bytes) in built {
        replace(&folders.modules.join(format!("{name}.wasm")), bytes)?;
        let sha256 = sha256_hex(bytes);
        println!("{sha256}  {:>7}  {name}", bytes.len());
        modules.insert(
            name.clone(),
            Module {
                sha256,
                size: bytes.len() as u64,
                world: guests.worlds[name].clone(),
                sources: guests.sources[name].clone(),
            },
        );
    }
    let text = serde_json::to_string_pretty(&Digests { compiler, modules })? + "\n";
    replace(&folders.modules.join("digests.json"), text.as_bytes())
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("tmp");
    fs::write(&new, bytes)?;
    fs::rename(&new, path).with_context(|| format!("can't write {}", path.display()))
}

fn committed(folders: &Folders) -> Result<Digests> {
    let path = folders.modules.join("digests.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("can't read {}: run `cargo xtask guests`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// The committed bytes have the committed digests, and the sources are those they were made from.
fn check_sources(folders: &Folders, guests: &Guests) -> Result<()> {
    let digests = committed(folders)?;
    let mut problems = Vec::new();
    for name in digests
        .modules
        .keys()
        .filter(|name| !guests.sources.contains_key(*name))
    {
        problems.push(format!("{name}: its sources are gone"));
    }
    for (name, sources) in &guests.sources {
        let Some(module) = digests.modules.get(name) else {
            problems.push(format!("{name}: never built"));
            continue;
        };
        let bytes = fs::read(folders.modules.join(format!("{name}.wasm"))).unwrap_or_default();
        if sha256_hex(&bytes) != module.sha256 || bytes.len() as u64 != module.size {
            problems.push(format!(
                "{name}: the component is not the one in digests.json"
            ));
        }
        if *sources != module.sources {
            problems.push(format!("{name}: its sources changed after it was built"));
        }
    }
    ensure!(
        problems.is_empty(),
        "examples/modules is out of date; run `cargo xtask guests` and commit:\n  {}",
        problems.join("\n  ")
    );
    println!(
        "{} components belong to their sources",
        guests.sources.len()
    );
    Ok(())
}

/// A new build gives the committed bytes.
fn check_bytes(folders: &Folders, guests: &Guests) -> Result<()> {
    let digests = committed(folders)?;
    let toolchain = Toolchain::find(&folders.toolchains, Some(&digests.compiler))?;
    let built = build(folders, guests, &toolchain)?;
    if toolchain.compiler != digests.compiler {
        bail!(
            "the guests build, but this machine can't confirm the committed components:\n  made by {}\n  here is {}\n\
             Other compilers make other bytes. Check where that compiler is to be had, or rebuild with \
             `cargo xtask guests` and commit.",
            digests.compiler,
            toolchain.compiler
        );
    }
    let differing: Vec<_> = built
        .iter()
        .filter(|(name, bytes)| {
            digests
                .modules
                .get(*name)
                .is_none_or(|module| module.sha256 != sha256_hex(bytes))
        })
        .map(|(name, bytes)| format!("{name}: built {}", sha256_hex(bytes)))
        .collect();
    ensure!(
        differing.is_empty(),
        "these components differ from the committed ones, though compiler and sources are the same:\n  {}",
        differing.join("\n  ")
    );
    println!("{} components built again, byte for byte", built.len());
    Ok(())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Folders, Guests, check_sources};

    #[test]
    fn the_committed_components_belong_to_the_committed_sources() {
        let folders = Folders::find().unwrap();
        let guests = Guests::read(&folders).unwrap();
        assert!(
            guests.sources.contains_key("mlp-train"),
            "{:?}",
            guests.sources
        );
        check_sources(&folders, &guests).unwrap();
    }
}
