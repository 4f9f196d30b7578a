//! `aevir module`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use aevir_sandbox::{World, limits::MODULE_BYTES_MAX};
use aevir_wire::{Module, ModuleList};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde::Serialize;

use crate::{
    args::Global,
    inspector,
    output::{pages, print, properties, table},
    workfolder::workfolder,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ModuleVerb {
    /// Upload a WebAssembly component, or a WASI preview 1 program, which becomes one; the component's digest is what task definitions name it by.
    Push {
        file: PathBuf,
        /// A name for people; the file's name when left out.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the account's modules.
    List,
    /// Say, without a platform, what an upload of this file would be told: which world it fits, what it imports, or why it is refused.
    Inspect {
        file: PathBuf,
        /// Write the component to this file: what a platform would store.
        #[arg(long)]
        component: Option<PathBuf>,
    },
}

/// What `inspect` answers.
#[derive(Debug, Serialize)]
struct Inspection {
    /// Of the component: what task definitions name it by.
    digest: String,
    world: World,
    /// The file is a core module, and the component was made of it.
    adapted: bool,
    bytes: u64,
    imports: Vec<String>,
    exports: Vec<String>,
    /// It imports GPU compute: tasks of it ask for a GPU in `qos`.
    wants_gpu: bool,
    /// Core instances, memories or tables, whichever are most.
    instances: u32,
    /// Memory that a node needs to compile it, in MiB: nodes that offer less get no task of it.
    compile_mib: u32,
    /// Storage that its compiled form takes on a node, in MiB.
    code_mib: u32,
}

pub(crate) async fn run(verb: ModuleVerb, global: &Global) -> Result<()> {
    match verb {
        ModuleVerb::Push { file, name } => {
            let client = global.keyed_client()?;
            let wasm = read(&file)?;
            let stem = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let module = client.push_module(&name.unwrap_or(stem), wasm).await?;
            print(global.output, &module, || shown(&module))
        }
        ModuleVerb::Inspect { file, component } => {
            inspect(&file, component.as_deref(), global).await
        }
        ModuleVerb::List => {
            let client = global.keyed_client()?;
            let modules = pages!(client.modules, modules);
            let list = ModuleList {
                modules,
                next: None,
            };
            print(global.output, &list, || {
                table(
                    ["DIGEST", "NAME", "WORLD", "BYTES", "REGISTERED"],
                    list.modules.iter().map(|m| {
                        [
                            m.digest.clone(),
                            m.name.clone(),
                            m.world.clone(),
                            m.size.clone(),
                            m.registered_at.clone(),
                        ]
                    }),
                )
            })
        }
    }
}

/// The bytes of a module's file: a plain file, and no more of it than is needed to see that it is too long.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    let shown = file.display();
    let failed = || format!("the module `{shown}` can't be read");
    // Looked at before it is opened: opening a pipe waits for whoever writes to it.
    ensure!(
        std::fs::metadata(file).with_context(failed)?.is_file(),
        "the module `{shown}` is no regular file"
    );
    let mut bytes = Vec::new();
    let opened = File::open(file).with_context(failed)?;
    opened
        .take(MODULE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    Ok(bytes)
}

async fn inspect(file: &Path, component: Option<&Path>, global: &Global) -> Result<()> {
    let bytes = read(file)?;
    let folder = workfolder("inspect-")?;
    let judge = inspector::judge(folder.path())?;
    let judged = judge.judge(bytes.clone()).await;
    let judged = judged.with_context(|| format!("`{}` would be refused", file.display()))?;
    let (compile_mib, code_mib) = (judged.compile_mib, judged.code_mib);
    let info = judged.info;
    let adapted = judged.adapted.is_some();
    let stored = judged.adapted.unwrap_or(bytes);
    if let Some(path) = component {
        std::fs::write(path, &stored)
            .with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    let inspection = Inspection {
        digest: aevir_wire::digest(&stored),
        world: info.world,
        adapted,
        bytes: info.size,
        wants_gpu: info.wants_compute(),
        instances: info.instances,
        compile_mib,
        code_mib,
        imports: info.imports,
        exports: info.exports,
    };
    print(global.output, &inspection, || {
        let world = match inspection.world {
            World::Task => "task",
            World::Check => "check",
            World::Comparator => "comparator",
            World::Program => "program (WASI; runs as a task)",
        };
        let yes_no = |yes| if yes { "yes" } else { "no" };
        properties([
            ("digest", inspection.digest.clone()),
            ("world", world.to_owned()),
            ("adapted", yes_no(inspection.adapted).to_owned()),
            ("bytes", inspection.bytes.to_string()),
            ("wants a GPU", yes_no(inspection.wants_gpu).to_owned()),
            ("instances", inspection.instances.to_string()),
            (
                "memory to compile it, MiB",
                inspection.compile_mib.to_string(),
            ),
            ("compiled form, MiB", inspection.code_mib.to_string()),
            ("imports", inspection.imports.join("\n")),
            ("exports", inspection.exports.join("\n")),
        ])
    })
}

fn shown(module: &Module) -> String {
    properties([
        ("digest", module.digest.clone()),
        ("name", module.name.clone()),
        ("world", module.world.clone()),
        ("bytes", module.size.clone()),
        ("memory to compile it, MiB", module.compile_mib.to_string()),
        ("compiled form, MiB", module.code_mib.to_string()),
        ("imports", module.imports.join(", ")),
    ])
}
