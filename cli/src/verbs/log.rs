//! `aevir log`.

use std::io::Write as _;

use aevir_wire::{Client, NdjsonStream, Publishing};
use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::Value;

use super::{
    proof::{self, ProofVerb},
    schemas::{self, SchemasArgs},
};
use crate::{
    args::{Global, Output},
    export::{self, ExportArgs},
    output::{or_dash, print, properties},
};

#[derive(Debug, Subcommand)]
pub(crate) enum LogVerb {
    /// Show the newest entries, and with --follow what comes (scope `audit`).
    Tail {
        /// How many of the entries that are there.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u64,
        /// Start at this position instead.
        #[arg(long, conflicts_with = "lines")]
        from: Option<u64>,
        /// Go on for ever.
        #[arg(short, long)]
        follow: bool,
    },
    /// Write the log to a file as CloudEvents, one a line, with the signed checkpoint beside it (scope `audit`).
    Export(ExportArgs),
    /// Show the log's size and Merkle root, the hash of the state, and how the log is published.
    Head,
    #[command(flatten)]
    Proof(ProofVerb),
    /// List the types and versions of events, or show the JSON Schema of one.
    Schemas(SchemasArgs),
}

pub(crate) async fn run(verb: LogVerb, global: &Global) -> Result<()> {
    match verb {
        LogVerb::Proof(verb) => proof::run(verb, global).await,
        LogVerb::Schemas(args) => schemas::run(&args, global),
        LogVerb::Tail {
            lines,
            from,
            follow,
        } => {
            let client = global.keyed_client()?;
            let from = match from {
                Some(from) => from,
                None => size(&client).await?.saturating_sub(lines),
            };
            let limit = (!follow).then_some(u64::MAX);
            let mut entries = client.events(from, limit, follow).await?;
            show(&mut entries, global.output).await
        }
        LogVerb::Export(args) => export::run(args, global).await,
        LogVerb::Head => {
            let head = global.keyed_client()?.log_head(true).await?;
            print(global.output, &head, || {
                properties([
                    ("events", head.size.clone()),
                    ("root", head.root.clone()),
                    ("state", head.state_hash.clone().unwrap_or_default()),
                    ("published", or_dash(head.publishing.size.as_deref())),
                    ("publisher", publisher(&head.publishing)),
                ])
            })
        }
    }
}

/// What the publisher does, and why it does not.
fn publisher(publishing: &Publishing) -> String {
    match &publishing.detail {
        None => publishing.state.clone(),
        Some(detail) => format!("{}: {detail}", publishing.state),
    }
}

async fn size(client: &Client) -> Result<u64> {
    let head = client.log_head(false).await?;
    head.size.parse().context("the log's size is no number")
}

async fn show(entries: &mut NdjsonStream, output: Output) -> Result<()> {
    while let Some(entry) = entries.next_line().await {
        let entry = entry?;
        let line = match output {
            Output::Json => String::from_utf8_lossy(&entry).into_owned(),
            Output::Table => {
                let entry: Value = serde_json::from_slice(&entry)?;
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                format!(
                    "{:>8}  {}  {:<28}  {}",
                    text("position"),
                    text("time"),
                    text("type"),
                    text("stream")
                )
            }
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()?;
    }
    Ok(())
}
