//! `aevir content`.

use std::path::PathBuf;

use aevir_wire::{Access, Artifact, Client, Content, ContentTerms, Contributor, RegisterContent};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use crate::{
    args::Global,
    output::{aev, print, properties, table},
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
        /// An SPDX expression, such as `CC-BY-4.0`, or `sha256:` and the digest of the licence's text.
        #[arg(long)]
        licence: String,
        /// Part of a task's content share relative to the task's other contents; 1 to 1000.
        #[arg(long, default_value_t = 1)]
        weight: u32,
        /// What each task that uses it pays for that, in micro-AEV.
        #[arg(long, default_value = "0")]
        price: String,
        /// An account that may use it; for every other one it isn't there. Can be given several times; without it everybody may.
        #[arg(long, value_name = "ACCOUNT")]
        access: Vec<String>,
        /// `ACCOUNT=WEIGHT`: somebody who earns by it. Can be given several times; without it you alone earn.
        #[arg(long, value_name = "ACCOUNT=WEIGHT")]
        contributor: Vec<String>,
    },
    /// Say what later tasks pay for a content of yours, and who may use it. What is not given stays as it is.
    Terms {
        id: String,
        /// In micro-AEV.
        #[arg(long)]
        price: Option<String>,
        /// An account that may use it, instead of all that might before. Can be given several times.
        #[arg(long, value_name = "ACCOUNT", conflicts_with = "everybody")]
        access: Vec<String>,
        /// Every account may use it.
        #[arg(long)]
        everybody: bool,
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
            price,
            access,
            contributor,
        } => {
            let contributors = contributor.iter().map(|text| contributing(text));
            let contributors = contributors.collect::<Result<_>>()?;
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
                    price,
                    access: listed(access).unwrap_or_default(),
                    contributors,
                })
                .await?;
            print(global.output, &content, || shown(&content))
        }
        ContentVerb::Terms {
            id,
            price,
            access,
            everybody,
        } => {
            let now = client.content(&id).await?;
            let access = match everybody {
                true => Some(Access::Everybody),
                false => listed(access).or(now.access),
            };
            let terms = ContentTerms {
                price: price.unwrap_or(now.price),
                access: access.context("only its owner changes a content's terms")?,
            };
            let content = client.change_content_terms(&id, &terms).await?;
            print(global.output, &content, || shown(&content))
        }
        ContentVerb::List { kind, name } => {
            let contents = all(&client, kind.as_deref(), name.as_deref()).await?;
            print(global.output, &contents, || {
                table(
                    ["ID", "KIND", "NAME", "VERSION", "FILES", "LICENCE", "PRICE"],
                    contents.iter().map(|c| {
                        [
                            c.id.clone(),
                            c.kind.clone(),
                            c.name.clone(),
                            c.version.clone(),
                            c.files.len().to_string(),
                            c.licence.clone(),
                            aev(&c.price),
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

/// The accounts of an access list, where it names any.
fn listed(accounts: Vec<String>) -> Option<Access> {
    (!accounts.is_empty()).then_some(Access::Accounts(accounts))
}

fn contributing(text: &str) -> Result<Contributor> {
    let parts = text.split_once('=');
    let parsed = parts.and_then(|(account, weight)| {
        let weight = weight.parse().ok()?;
        let account = account.to_owned();
        Some(Contributor { account, weight })
    });
    parsed.with_context(|| format!("`{text}` is not an account and a weight, such as 01J...=2"))
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
        ("price".into(), format!("{} AEV a use", aev(&content.price))),
    ];
    let access = match &content.access {
        Some(Access::Everybody) => "everybody".to_owned(),
        Some(Access::Accounts(accounts)) => accounts.join(", "),
        None => "its owner's list, and you".to_owned(),
    };
    rows.push(("may be used by".into(), access));
    rows.extend(content.contributors.iter().map(|c| {
        let weight = format!("weight {}", c.weight);
        (format!("contributor {}", c.account), weight)
    }));
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
