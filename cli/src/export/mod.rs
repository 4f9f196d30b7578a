//! `aevir log export`: the log as CloudEvents, one a line, with the signed checkpoint of exactly what was exported.
//!
//! Lines go to `FILE.partial`, which becomes `FILE` when all are there and their Merkle root is the checkpoint's; so what
//! is called `FILE` is whole. What an interruption left is continued with `--resume`, after it was read and checked.

mod partial;
mod sink;

use std::{
    fs,
    path::{Path, PathBuf},
};

use aevir_events::{
    CloudEventWriter, Entry, Hash,
    merkle::Frontier,
    tlog::{Checkpoint, VerifierKey},
};
use aevir_wire::Client;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    args::Global,
    output::{or_dash, print, properties},
    pin::Known,
};
use partial::Found;
use sink::Sink;

/// What is added to an export's name: while it is not complete, and for its signed checkpoint.
const PARTIAL: &str = ".partial";
const CHECKPOINT: &str = ".checkpoint";

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file; `-` for standard output. One that ends in `.zst` is compressed.
    file: PathBuf,
    /// Compress with Zstandard, in frames that can be read on their own.
    #[arg(long)]
    zstd: bool,
    /// Continue an export that was interrupted, or one of the same log that has grown since.
    #[arg(long)]
    resume: bool,
    /// Replace a file of this name.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    /// The first position. Only an export from 0 can be audited by itself.
    #[arg(long, default_value_t = 0, conflicts_with = "resume")]
    from: u64,
    /// The position to end before; the log's end where it is left out.
    #[arg(long)]
    to: Option<u64>,
    /// The log's public key, as in `log.pub`; known from the first contact where it is left out.
    #[arg(long, env = "AEVIR_LOG_VKEY", value_name = "VKEY")]
    log_key: Option<VerifierKey>,
}

/// What was exported.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    file: String,
    pub(crate) events: u64,
    /// Entries that an earlier export had left.
    resumed: u64,
    /// The Merkle root, where the export begins at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// The file with the signed checkpoint, where the export is a whole tree that was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// Which entries, and what is known of them.
#[derive(Debug)]
struct Span {
    from: u64,
    to: u64,
    origin: String,
    /// Of exactly the first `to` entries.
    checkpoint: Option<Checkpoint>,
}

pub(crate) async fn run(args: ExportArgs, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    let mut known = Known::meet(&client, args.log_key.as_ref()).await?;
    let newest = newest(&client).await?;
    let checkpoint = known.see(&client, &newest).await?;
    let origin = known.key().origin().to_owned();
    let span = span(checkpoint, origin, args.from, args.to)?;
    if args.file == Path::new("-") {
        let bar = bar(span.to - span.from);
        let mut sink = Sink::stdout(args.zstd);
        let mut frontier = Frontier::default();
        write(&client, &span, span.from, &mut frontier, &mut sink, &bar).await?;
        return sink.finish();
    }
    // An export that somebody kept, or its signed checkpoint alone, may be all that shows what the log was then.
    let kept = [args.file.clone(), beside(&args.file, CHECKPOINT)];
    if let Some(kept) = kept
        .iter()
        .find(|kept| kept.is_file() && !args.resume && !args.force)
    {
        bail!(
            "`{}` exists: choose another name, continue the export with --resume, or replace it with --force",
            kept.display()
        );
    }
    if args.force {
        remove(&beside(&args.file, PARTIAL))?;
    }
    let exported = export_to(&client, &span, &args.file, args.zstd, args.resume).await?;
    print(global.output, &exported, || {
        properties([
            ("file", exported.file.clone()),
            ("events", exported.events.to_string()),
            ("of an earlier export", exported.resumed.to_string()),
            ("root", or_dash(exported.root.as_deref())),
            ("checkpoint", or_dash(exported.checkpoint.as_deref())),
        ])
    })
}

/// Exports everything to a file, with the server's own key.
///
/// # Errors
/// When the log can't be read, or is not what its checkpoint says.
pub(crate) async fn whole(client: &Client, file: &Path) -> Result<Exported> {
    let key: VerifierKey = client.log_key().await?.key.parse()?;
    let checkpoint = Checkpoint::open(newest(client).await?.as_bytes(), &key)?;
    let span = span(checkpoint, key.origin().to_owned(), 0, None)?;
    export_to(client, &span, file, false, false).await
}

/// The note of a checkpoint that covers the log as it is now.
async fn newest(client: &Client) -> Result<String> {
    let size = client.log_head(false).await?.size;
    let size = size.parse().context("the log's size is no number")?;
    Ok(client.log_checkpoint(Some(size)).await?.note)
}

fn span(checkpoint: Checkpoint, origin: String, from: u64, to: Option<u64>) -> Result<Span> {
    let size = checkpoint.size;
    let to = to.unwrap_or(size);
    ensure!(
        from <= to && to <= size,
        "the log has {size} entries: name positions within it"
    );
    Ok(Span {
        from,
        to,
        origin,
        checkpoint: (from == 0 && to == size).then_some(checkpoint),
    })
}

async fn export_to(
    client: &Client,
    span: &Span,
    file: &Path,
    zstd: bool,
    resume: bool,
) -> Result<Exported> {
    let zstd = zstd || file.extension().is_some_and(|extension| extension == "zst");
    let partial = beside(file, PARTIAL);
    let mut found = begin(file, &partial, span, zstd, resume)?;
    let resumed = found.next - span.from;
    let bar = bar(span.to - span.from);
    bar.set_position(resumed);
    let mut sink = Sink::append(&partial, zstd)?;
    let wrote = write(
        client,
        span,
        found.next,
        &mut found.frontier,
        &mut sink,
        &bar,
    )
    .await;
    let synced = sink.finish();
    let again = || {
        format!(
            "`{}` is not complete; continue with --resume",
            partial.display()
        )
    };
    wrote.with_context(again)?;
    synced.with_context(again)?;
    let root = (span.from == 0).then(|| found.frontier.root());
    let checkpoint = match &span.checkpoint {
        None => {
            // An earlier export's would not be of this file.
            remove(&beside(file, CHECKPOINT))?;
            None
        }
        Some(checkpoint) => Some(keep(checkpoint, root, file, &partial)?),
    };
    fs::rename(&partial, file).with_context(|| format!("`{}` can't be made", file.display()))?;
    bar.finish_and_clear();
    Ok(Exported {
        file: file.display().to_string(),
        events: span.to - span.from,
        resumed,
        root: root.map(|root| root.to_string()),
        checkpoint: checkpoint.map(|path| path.display().to_string()),
    })
}

/// Removes a file, if it is there.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("`{}` can't be removed", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Holds the export against the signed checkpoint, and writes that beside it.
fn keep(
    checkpoint: &Checkpoint,
    root: Option<Hash>,
    file: &Path,
    partial: &Path,
) -> Result<PathBuf> {
    if root != Some(checkpoint.root) {
        let computed = root.map(|root| root.to_string());
        bail!(
            "what was exported has the root {}, and the log's signed checkpoint says {}: `{}` is kept as it is; the \
             server sends other entries than it signs, or the file was changed",
            or_dash(computed.as_deref()),
            checkpoint.root,
            partial.display()
        );
    }
    let beside = beside(file, CHECKPOINT);
    fs::write(&beside, checkpoint.note())
        .with_context(|| format!("`{}` can't be written", beside.display()))?;
    Ok(beside)
}

/// Prepares the partial file, and reads what is in it already.
fn begin(file: &Path, partial: &Path, span: &Span, zstd: bool, resume: bool) -> Result<Found> {
    if !resume {
        ensure!(
            !partial.exists(),
            "`{}` is there, of an export that was interrupted: continue it with --resume, or remove it",
            partial.display()
        );
        return Ok(Found::nothing(span.from));
    }
    if !partial.exists() && file.exists() {
        fs::rename(file, partial)
            .with_context(|| format!("`{}` can't be continued", file.display()))?;
    }
    if !partial.exists() {
        return Ok(Found::nothing(span.from));
    }
    let found = partial::check(partial, zstd, &span.origin)
        .with_context(|| format!("`{}` can't be continued", partial.display()))?;
    ensure!(
        found.next <= span.to,
        "`{}` has {} entries already, more than {}",
        partial.display(),
        found.next,
        span.to
    );
    Ok(found)
}

/// Writes the entries from `next` to the span's end.
async fn write(
    client: &Client,
    span: &Span,
    next: u64,
    frontier: &mut Frontier,
    sink: &mut Sink,
    bar: &ProgressBar,
) -> Result<()> {
    let left = span.to - next;
    if left == 0 {
        return Ok(());
    }
    let events = CloudEventWriter::new(&span.origin);
    let mut entries = client.events(next, Some(left), false).await?;
    let mut count = 0;
    let mut line = Vec::new();
    while let Some(entry) = entries.next_line().await {
        let entry = Entry(entry?);
        line.clear();
        events
            .write(&entry, &mut line)
            .with_context(|| format!("the entry at position {}", next + count))?;
        line.push(b'\n');
        sink.line(&line)?;
        frontier.push(entry.leaf());
        count += 1;
        bar.inc(1);
    }
    ensure!(count == left, "the server sent {count} of {left} entries");
    Ok(())
}

/// `FILE` with something at its end.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn bar(events: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} events, {per_sec}, {eta}");
    let bar = ProgressBar::new(events);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
