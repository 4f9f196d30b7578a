//! `aevir module`.

use std::path::PathBuf;

use aevir_wire::{Module, ModuleList};
use anyhow::{Context, Result};
use clap::Subcommand;

use crate::{
    args::Global,
    output::{pages, print, properties, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ModuleVerb {
    /// Upload a WebAssembly component; its digest is what task definitions name it by.
    Push {
        file: PathBuf,
        /// A name for people; the file's name when left out.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the account's modules.
    List,
}

pub(crate) async fn run(verb: ModuleVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        ModuleVerb::Push { file, name } => {
            let wasm = std::fs::read(&file)
                .with_context(|| format!("`{}` can't be read", file.display()))?;
            let stem = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let module = client.push_module(&name.unwrap_or(stem), wasm).await?;
            print(global.output, &module, || shown(&module))
        }
        ModuleVerb::List => {
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

fn shown(module: &Module) -> String {
    properties([
        ("digest", module.digest.clone()),
        ("name", module.name.clone()),
        ("world", module.world.clone()),
        ("bytes", module.size.clone()),
        ("imports", module.imports.join(", ")),
    ])
}
