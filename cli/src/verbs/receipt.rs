//! `aevir receipt`: fetch a task's receipt, and check one offline.

use std::path::{Path, PathBuf};

use aevir_events::tlog::{Checkpoint, TlogProof, VerifierKey};
use aevir_wire::{Task, TaskReceipt};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::task::OVERTURNED;
use crate::{
    args::Global,
    output::{print, properties},
    pin::Known,
};

/// The type of the entry that settles a task.
const SETTLED: &str = "task.settled";

#[derive(Debug, Args)]
pub(crate) struct ReceiptArgs {
    /// The task; it must have ended.
    #[arg(required_unless_present = "verify", conflicts_with = "verify")]
    task: Option<String>,
    /// Write the receipt to this file.
    #[arg(long, value_name = "FILE", requires = "task")]
    out: Option<PathBuf>,
    /// Check a receipt in a file, without any server.
    #[arg(long, value_name = "FILE", requires = "log_key")]
    verify: Option<PathBuf>,
    /// The log's public key, as in `log.pub`; known from the first contact where it is left out.
    #[arg(long, env = "AEVIR_LOG_VKEY", value_name = "VKEY")]
    log_key: Option<VerifierKey>,
}

pub(crate) async fn receipt(args: ReceiptArgs, global: &Global) -> Result<()> {
    if let (Some(file), Some(key)) = (&args.verify, &args.log_key) {
        return verify_file(file, key, global);
    }
    let client = global.keyed_client()?;
    let task = args.task.context("name the task")?;
    let mut known = Known::meet(&client, args.log_key.as_ref()).await?;
    let receipt = client.task_receipt(&task).await?;
    ensure!(
        receipt.task == task,
        "the server sent the receipt of task {}",
        receipt.task
    );
    let (checkpoint, entry) = verify(&receipt, known.key())?;
    known.see(&client, checkpoint.note()).await?;
    if let Some(file) = &args.out {
        let text = serde_json::to_string_pretty(&receipt)?;
        std::fs::write(file, format!("{text}\n"))
            .with_context(|| format!("`{}` can't be written", file.display()))?;
    }
    // Whom it paid may have its receipt and not see the task.
    let since = client.task(&task).await.ok();
    print(global.output, &receipt, || {
        shown(&receipt, &checkpoint, &entry, known.key(), since.as_ref())
    })
}

fn verify_file(file: &Path, key: &VerifierKey, global: &Global) -> Result<()> {
    let named = || format!("`{}` is no receipt", file.display());
    let text =
        std::fs::read(file).with_context(|| format!("`{}` can't be read", file.display()))?;
    let receipt: TaskReceipt = serde_json::from_slice(&text).with_context(named)?;
    let (checkpoint, entry) = verify(&receipt, key)?;
    print(global.output, &receipt, || {
        shown(&receipt, &checkpoint, &entry, key, None)
    })
}

/// Verifies that the log with this key has the receipt's entry, and that the entry is about the receipt's task.
pub(crate) fn verify(receipt: &TaskReceipt, key: &VerifierKey) -> Result<(Checkpoint, Value)> {
    let proof: TlogProof = receipt.proof.parse()?;
    let checkpoint = proof
        .verify(receipt.entry.as_bytes(), key)
        .context("the receipt proves nothing")?;
    let entry: Value = serde_json::from_str(&receipt.entry).context("the entry is no JSON")?;
    let stream = format!("task/{}", receipt.task);
    ensure!(
        entry["stream"] == stream,
        "the entry is about {}, not about {stream}",
        entry["stream"]
    );
    let ends = entry["type"] == SETTLED || entry["type"] == "task.closed";
    ensure!(
        ends,
        "the entry is a {}, which does not end a task",
        entry["type"]
    );
    Ok((checkpoint, entry))
}

fn shown(
    receipt: &TaskReceipt,
    checkpoint: &Checkpoint,
    entry: &Value,
    key: &VerifierKey,
    task: Option<&Task>,
) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut rows = vec![
        ("task", receipt.task.clone()),
        ("what", text(&entry["type"])),
        ("when", text(&entry["time"])),
        ("fee (micro-AEV)", text(&entry["data"]["fee"])),
        ("position", text(&entry["position"])),
        (
            "proven by",
            format!("checkpoint of {} entries", checkpoint.size),
        ),
        ("log", key.to_string()),
    ];
    if entry["type"] == SETTLED {
        rows.push(("since then", fate(task)));
    }
    properties(rows)
}

/// What became of a settlement: the entry proves that it was made, and a later one can reverse it.
fn fate(task: Option<&Task>) -> String {
    let settlement = task.and_then(|task| task.settlement.as_ref());
    match (task, settlement) {
        (Some(task), _) if task.state == OVERTURNED => {
            "overturned: what it paid was taken back".into()
        }
        (_, Some(settlement)) => match (&settlement.matured_at, &settlement.matures_at) {
            (Some(at), _) => format!("final, as the server says: its shares matured at {at}"),
            (None, Some(at)) => format!("its verdict can be overturned until {at}, or while it is looked at again"),
            (None, None) => "nothing".into(),
        },
        _ => "not told by the entry: until its shares mature the verdict can be overturned (`aevir task show`)".into(),
    }
}
