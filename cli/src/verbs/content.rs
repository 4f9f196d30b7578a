//! `aevir content`.

use std::path::PathBuf;

use aevir_wire::{Artifact, Client, Content, RegisterContent};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use crate::{
    args::Global,
    output::{print, properties, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ContentVerb {
    /// Upload files and register them as a dataset or model.
    Add {
        /// `FILE`, or `NAME=FILE` to give it another name.
        #[arg(required = true)]
        files: Vec<String>,
        /// `dataset` or `model`.
        #[arg(long, default_value = "dataset")]
        kind: String,
        #[arg(long)]
        name: String,
        #[arg(long)]
        version: String,
        /// Such as an SPDX expression.
        #[arg(long)]
        licence: String,
        /// Part of a task's content share relative to the task's other contents; 1 to 1000.
        #[arg(long, default_value_t = 1)]
        weight: u32,
    },
    /// List the catalogue.
    List {
        #[arg(long)]
        kind: Option<String>,
        #[arg(long)]
        name: Option<String>,
    },
    /// Show one content: its files and where it comes from.
    Show { id: String },
}

pub(crate) async fn run(verb: ContentVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        ContentVerb::Add {
            files,
            kind,
            name,
            version,
            licence,
            weight,
        } => {
            let mut artifacts = Vec::new();
            for file in &files {
                artifacts.push(upload(&client, file).await?);
            }
            let content = client
                .register_content(&RegisterContent {
                    kind,
                    name,
                    version,
                    files: artifacts,
                    licence,
                    weight,
                })
                .await?;
            print(global.output, &content, || shown(&content))
        }
        ContentVerb::List { kind, name } => {
            let contents = all(&client, kind.as_deref(), name.as_deref()).await?;
            print(global.output, &contents, || {
                table(
                    ["ID", "KIND", "NAME", "VERSION", "FILES", "LICENCE"],
                    contents.iter().map(|c| {
                        [
                            c.id.clone(),
                            c.kind.clone(),
                            c.name.clone(),
                            c.version.clone(),
                            c.files.len().to_string(),
                            c.licence.clone(),
                        ]
                    }),
                )
            })
        }
        ContentVerb::Show { id } => {
            let content = client.content(&id).await?;
            print(global.output, &content, || shown(&content))
        }
    }
}

async fn upload(client: &Client, file: &str) -> Result<Artifact> {
    let (name, path) = match file.split_once('=') {
        Some((name, path)) => (Some(name.to_owned()), PathBuf::from(path)),
        None => (None, PathBuf::from(file)),
    };
    let own_name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.unwrap_or_else(|| own_name.clone().into_owned());
    ensure!(!name.is_empty(), "`{file}` names no file");
    let blob = client
        .put_blob_file(&path)
        .await
        .with_context(|| format!("`{}` was not uploaded", path.display()))?;
    Ok(Artifact {
        name,
        digest: blob.digest,
        size: blob.size,
    })
}

/// The catalogue, in the order of registration.
///
/// # Errors
/// When it can't be read.
pub(super) async fn all(
    client: &Client,
    kind: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Content>> {
    let mut contents = Vec::new();
    let mut after = None;
    loop {
        let page = client.contents(kind, name, None, after.as_deref()).await?;
        contents.extend(page.contents);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(contents),
        }
    }
}

fn shown(content: &Content) -> String {
    let mut rows = vec![
        ("id".to_owned(), content.id.clone()),
        ("kind".into(), content.kind.clone()),
        ("name".into(), content.name.clone()),
        ("version".into(), content.version.clone()),
        ("owner".into(), content.owner.clone()),
        ("licence".into(), content.licence.clone()),
        ("weight".into(), content.weight.to_string()),
    ];
    rows.extend(content.files.iter().map(|file| {
        (
            format!("file {}", file.name),
            format!("{} ({} bytes)", file.digest, file.size),
        )
    }));
    if let Some(lineage) = &content.lineage {
        rows.push(("made by task".into(), lineage.task.clone()));
        rows.push(("from contents".into(), lineage.contents.join(", ")));
        rows.push(("on nodes".into(), lineage.nodes.join(", ")));
    }
    properties(rows)
}
