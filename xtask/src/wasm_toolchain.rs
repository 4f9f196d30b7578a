//! A Rust compiler for `wasm32-unknown-unknown`: the installed one where it has the target, otherwise one put together
//! from Debian packages in a cache folder, with nothing installed system-wide.
//!
//! Debian's `rustc-web` brings no standard library for wasm, so that is built once (three minutes, 500 MB) from
//! `rust-web-src` and copied into the compiler's folder. The linkers come with the installed toolchain in both cases.

mod debian;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::process;

/// What the guests are compiled for; the linker makes components of its modules.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// [`Compiler::std`] of the installed toolchain.
const INSTALLED_STD: &str = "rustup";

const REMEDY: &str = "the guests need a Rust compiler for wasm32. Any one of these helps:\n  \
    - `rustup target add wasm32-unknown-unknown`\n  \
    - on Debian, as root: `apt-get update` (its packages are then fetched, not installed)\n\
    Only building guests needs it: the committed components in examples/modules run without.";

/// Everything that decides the bytes of a component besides the sources. Digests are compared only where all of it is
/// equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compiler {
    /// `rustc --version`.
    pub rustc: String,
    /// Where the standard library is from: `rustup`, or the Debian package and its version.
    pub std: String,
    /// `cargo --version`: it mixes its version into symbol names, which order functions.
    pub cargo: String,
    /// The versions of the component linker and of the wasm linker that it calls.
    pub linker: String,
}

impl std::fmt::Display for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, std of {}, {}, {}",
            self.rustc, self.std, self.cargo, self.linker
        )
    }
}

/// A compiler that is ready to use.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// What it is.
    pub compiler: Compiler,
    /// Its `rustc`.
    rustc: PathBuf,
    /// Shared libraries that `rustc` needs.
    libraries: Option<PathBuf>,
    /// Where it compiles to. Each compiler has its own: cargo would not notice another standard library.
    target_dir: PathBuf,
    linkers: Linkers,
}

#[derive(Debug)]
struct Linkers {
    component: PathBuf,
    wasm: PathBuf,
}

impl Toolchain {
    /// Finds or makes a toolchain below `cache`. Where both kinds are to be had, `like` decides: the kind that made the
    /// committed components can check them.
    pub(crate) fn find(cache: &Path, like: Option<&Compiler>) -> Result<Self> {
        let linkers = Linkers::find()?;
        let debian_wanted = like.is_some_and(|compiler| compiler.std != INSTALLED_STD);
        let installed = installed_has_target()?;
        if installed && !debian_wanted {
            return Self::installed(cache, linkers);
        }
        match debian::root(cache) {
            Ok((version, root)) => Self::debian(&root, &version, linkers),
            Err(_) if installed => Self::installed(cache, linkers),
            Err(error) => Err(error),
        }
    }

    fn installed(cache: &Path, linkers: Linkers) -> Result<Self> {
        let rustc = sysroot()?.join("bin/rustc");
        let compiler = Compiler {
            rustc: output(Command::new(&rustc).arg("--version"))?,
            std: INSTALLED_STD.into(),
            cargo: output(Command::new("cargo").arg("--version"))?,
            linker: linkers.versions()?,
        };
        Ok(Self {
            compiler,
            rustc,
            libraries: None,
            target_dir: cache.join("installed-target"),
            linkers,
        })
    }

    fn debian(root: &Path, version: &str, linkers: Linkers) -> Result<Self> {
        let (rustc, libraries) = debian::paths(root)?;
        let compiler = Compiler {
            rustc: output(
                Command::new(&rustc)
                    .arg("--version")
                    .env("LD_LIBRARY_PATH", &libraries),
            )?,
            std: format!("Debian {} {version}", debian::SOURCE_PACKAGE),
            cargo: output(Command::new("cargo").arg("--version"))?,
            linker: linkers.versions()?,
        };
        Ok(Self {
            compiler,
            rustc,
            libraries: Some(libraries),
            target_dir: root.join("guests-target"),
            linkers,
        })
    }

    /// A `cargo` command that compiles for [`TARGET`] with this toolchain; what comes out is the same wherever the
    /// sources, the cargo home and the target directory are.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut flags = remaps(&[
            (self.target_dir.clone(), "/target"),
            (self.source_root()?, "/rustc"),
        ])?;
        flags.push(flag("-Clink-arg=--wasm-ld-path=", &self.linkers.wasm));
        let mut command = clean_cargo(
            &self.rustc,
            self.libraries.as_deref(),
            &self.target_dir,
            &flags,
        );
        command.env(linker_variable(), &self.linkers.component);
        Ok(command)
    }

    /// Where [`cargo`](Self::cargo) puts modules of the release profile.
    pub(crate) fn artefacts(&self) -> PathBuf {
        self.target_dir.join(TARGET).join("release")
    }

    /// Where the installed toolchain keeps the standard library's sources, if it does: the compiler may name them by
    /// this path. Debian's are remapped when its library is built.
    fn source_root(&self) -> Result<PathBuf> {
        Ok(sysroot()?.join("lib/rustlib/src/rust"))
    }
}

impl Linkers {
    /// The linkers that every Rust toolchain for Linux brings along.
    fn find() -> Result<Self> {
        let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
        let tools = sysroot()?.join("lib/rustlib").join(host).join("bin");
        let linkers = Self {
            component: tools.join("wasm-component-ld"),
            wasm: tools.join("gcc-ld/wasm-ld"),
        };
        for linker in [&linkers.component, &linkers.wasm] {
            ensure!(
                linker.exists(),
                "{} is missing: use a Rust toolchain from rustup (https://rustup.rs), which has it",
                linker.display()
            );
        }
        Ok(linkers)
    }

    fn versions(&self) -> Result<String> {
        let component = output(Command::new(&self.component).arg("--version"))?;
        let wasm = output(Command::new(&self.wasm).arg("--version"))?;
        // "LLD 22.1.2 (/checkout/src/llvm-project/llvm 1cb4...)": the version says enough.
        let wasm = wasm.split(" (").next().unwrap_or_default();
        Ok(format!("{component}, {wasm}"))
    }
}

fn installed_has_target() -> Result<bool> {
    let libdir =
        output(Command::new("rustc").args(["--target", TARGET, "--print", "target-libdir"]))?;
    Ok(Path::new(&libdir).exists())
}

fn sysroot() -> Result<PathBuf> {
    Ok(output(Command::new("rustc").args(["--print", "sysroot"]))?.into())
}

/// A `cargo` that takes nothing from the caller's environment or configuration that could change what is compiled.
fn clean_cargo(
    rustc: &Path,
    libraries: Option<&Path>,
    target_dir: &Path,
    flags: &[OsString],
) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = [
            "CARGO_HOME",
            "CARGO_HTTP_",
            "CARGO_NET_",
            "CARGO_REGISTR",
            "CARGO_SOURCE_",
        ];
        if (text.starts_with("CARGO") || text.starts_with("RUSTC") || text.starts_with("RUSTFLAGS"))
            && !kept.iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
        .env("RUSTC", rustc)
        .env("RUSTC_WRAPPER", "")
        .env("CARGO_TARGET_DIR", target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags.join(std::ffi::OsStr::new("\x1f")),
        );
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// Flags that replace local folders in what the compiler writes: these, and every registry's sources.
fn remaps(folders: &[(PathBuf, &str)]) -> Result<Vec<OsString>> {
    let mut all: Vec<(PathBuf, &str)> = folders.to_vec();
    let registries = home()?.join("registry/src");
    if registries.exists() {
        for entry in fs::read_dir(registries)? {
            all.push((entry?.path(), "/cargo"));
        }
    }
    Ok(all
        .into_iter()
        .map(|(from, to)| {
            let mut mapping = flag("--remap-path-prefix=", &from);
            mapping.push("=");
            mapping.push(to);
            mapping
        })
        .collect())
}

fn home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("there is no home directory")?;
    Ok(home.join(".cargo"))
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

fn linker_variable() -> String {
    format!(
        "CARGO_TARGET_{}_LINKER",
        TARGET.to_uppercase().replace('-', "_")
    )
}

/// Runs a command and returns what it prints, trimmed.
fn output(command: &mut Command) -> Result<String> {
    Ok(process::output_of(command)?.trim().to_owned())
}
