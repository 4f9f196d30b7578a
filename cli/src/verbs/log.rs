//! `aevir log`.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

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
    /// Write the whole log to a file, one entry a line, byte for byte as it is stored and hashed (scope `audit`).
    Export {
        /// `-` for standard output.
        file: PathBuf,
    },
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
        LogVerb::Export { file } => {
            let client = global.keyed_client()?;
            let size = size(&client).await?;
            if file == Path::new("-") {
                write_entries(&client, size, std::io::stdout().lock()).await?;
                return Ok(());
            }
            let count = export(&client, size, &file).await?;
            let document = serde_json::json!({"file": file.display().to_string(), "events": count});
            print(global.output, &document, || {
                format!("{count} events written to {}", file.display())
            })
        }
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

/// Writes the first `size` entries to a file.
///
/// # Errors
/// When the log can't be read, ends too early, or the file can't be written.
pub(crate) async fn export(client: &Client, size: u64, file: &Path) -> Result<u64> {
    let named = || format!("`{}` can't be written", file.display());
    let target = BufWriter::new(File::create(file).with_context(named)?);
    write_entries(client, size, target)
        .await
        .with_context(named)
}

async fn write_entries(client: &Client, size: u64, mut to: impl std::io::Write) -> Result<u64> {
    let mut entries = client.events(0, Some(size), false).await?;
    let mut count = 0;
    while let Some(entry) = entries.next_line().await {
        to.write_all(&entry?)?;
        to.write_all(b"\n")?;
        count += 1;
    }
    to.flush()?;
    anyhow::ensure!(
        count == size,
        "the server sent {count} of {size} entries: try again"
    );
    Ok(count)
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
