//! `aevir audit`: recompute every state, balance and point from the log alone, and compare.
//!
//! The entries come from an exported file or from a live platform. Each is checked for its canonical bytes, position,
//! revision, time, and for whether the state can take it; then come the Merkle root, the state's hash and the ledger.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use aevir_events::{Entry, Replay, Replayed, state_hash};
use aevir_platform::{Platform, ids::AccountId};
use aevir_wire::{Client, LogHead};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::{
    args::Global,
    output::{aev, print, properties},
};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// An exported log (`aevir log export`). Left out: the live log of the platform, whose own word is compared with
    /// what its log makes (scope `audit`).
    #[arg(long)]
    file: Option<PathBuf>,
    /// Compare an exported log, too, with what the live platform says: root and state.
    #[arg(long, requires = "file")]
    compare: bool,
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub(crate) struct Audit {
    pub(crate) events: u64,
    /// The Merkle root over them, in hex.
    pub(crate) root: String,
    /// SHA-256 of the recomputed state's canonical JSON.
    pub(crate) state_hash: String,
    pub(crate) ledger: AuditedLedger,
    /// All IntelliPoints by account.
    pub(crate) points: BTreeMap<String, AuditedPoints>,
    pub(crate) tasks: usize,
    /// What the live platform says, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<Live>,
}

/// The recomputed ledger, in micro-AEV.
#[derive(Debug, Serialize)]
pub(crate) struct AuditedLedger {
    pub(crate) sum: String,
    pub(crate) accounts: BTreeMap<String, String>,
}

/// An account's recomputed points.
#[derive(Debug, Serialize)]
pub(crate) struct AuditedPoints {
    pub(crate) compute: String,
    pub(crate) content: String,
    pub(crate) verification: String,
}

/// The platform's own word.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    pub(crate) root: String,
    pub(crate) state_hash: String,
    /// Both are equal to the recomputed ones.
    pub(crate) equal: bool,
}

pub(crate) async fn audit(args: AuditArgs, global: &Global) -> Result<()> {
    let audit = match (&args.file, args.compare) {
        (Some(file), false) => examine(read_file(file, None)?)?,
        (Some(file), true) => {
            let head = global.keyed_client()?.log_head(true).await?;
            compare(examine(read_file(file, Some(size_of(&head)?))?)?, head)?
        }
        (None, _) => audit_live(&global.keyed_client()?).await?,
    };
    print(global.output, &audit, || shown(&audit))?;
    ensure!(
        audit.ledger.sum == "0",
        "the ledger sums to {}, not to zero",
        audit.ledger.sum
    );
    let equal = audit.live.as_ref().is_none_or(|live| live.equal);
    ensure!(equal, "the live platform is not what its log makes");
    Ok(())
}

/// Replays the live log up to where it is now, and compares.
///
/// # Errors
/// When it can't be read, or is damaged; the message names the position.
pub(crate) async fn audit_live(client: &Client) -> Result<Audit> {
    let head = client.log_head(true).await?;
    let size = size_of(&head)?;
    let mut entries = client.events(0, Some(size), false).await?;
    let mut replay = Replay::<Platform>::default();
    while let Some(entry) = entries.next_line().await {
        replay.push(&Entry(entry?))?;
    }
    ensure!(
        replay.size() == size,
        "the server sent {} of {size} entries",
        replay.size()
    );
    compare(examine(replay.finish())?, head)
}

fn size_of(head: &LogHead) -> Result<u64> {
    head.size.parse().context("the log's size is no number")
}

/// Replays an exported log, or its first `limit` entries.
///
/// # Errors
/// When the file can't be read, is shorter, or is damaged; the message names the position.
pub(crate) fn read_file(file: &Path, limit: Option<u64>) -> Result<Replayed<Platform>> {
    let named = || format!("`{}` can't be read", file.display());
    let mut lines = BufReader::new(File::open(file).with_context(named)?);
    let mut replay = Replay::<Platform>::default();
    let mut line = Vec::new();
    while limit.is_none_or(|limit| replay.size() < limit) {
        line.clear();
        if lines.read_until(b'\n', &mut line).with_context(named)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        replay.push(&Entry(std::mem::take(&mut line)))?;
    }
    if let Some(limit) = limit {
        ensure!(
            replay.size() == limit,
            "the file has {} entries, and the live log has {limit}",
            replay.size()
        );
    }
    Ok(replay.finish())
}

/// Sums up a replayed log.
///
/// # Errors
/// When the state has no JSON form.
pub(crate) fn examine(replayed: Replayed<Platform>) -> Result<Audit> {
    let state = &replayed.state;
    let accounts = state.ledger.balances();
    let points = state.points.iter().map(|(account, points)| {
        let points = AuditedPoints {
            compute: points.compute.to_string(),
            content: points.content.to_string(),
            verification: points.verification.to_string(),
        };
        (AccountId::to_string(account), points)
    });
    Ok(Audit {
        events: replayed.size,
        root: replayed.root.to_string(),
        state_hash: state_hash(state)?,
        ledger: AuditedLedger {
            sum: state.ledger.sum().to_string(),
            accounts: accounts
                .map(|(account, amount)| (account.to_string(), amount.to_string()))
                .collect(),
        },
        points: points.collect(),
        tasks: state.tasks.len(),
        live: None,
    })
}

fn compare(audit: Audit, head: LogHead) -> Result<Audit> {
    let live_hash = head
        .state_hash
        .context("the server did not say its state's hash")?;
    let equal = head.root == audit.root && live_hash == audit.state_hash;
    let live = Live {
        root: head.root,
        state_hash: live_hash,
        equal,
    };
    Ok(Audit {
        live: Some(live),
        ..audit
    })
}

fn shown(audit: &Audit) -> String {
    let mut rows = vec![
        ("events".to_owned(), audit.events.to_string()),
        ("root".into(), audit.root.clone()),
        ("state".into(), audit.state_hash.clone()),
        ("tasks".into(), audit.tasks.to_string()),
        ("ledger, sum".into(), aev(&audit.ledger.sum)),
    ];
    rows.extend(
        audit
            .ledger
            .accounts
            .iter()
            .map(|(account, amount)| (format!("ledger, {account}"), aev(amount))),
    );
    rows.extend(audit.points.iter().map(|(account, points)| {
        let text = format!(
            "compute {}, content {}, verification {}",
            points.compute, points.content, points.verification
        );
        (format!("points, {account}"), text)
    }));
    if let Some(live) = &audit.live {
        let text = if live.equal {
            "the live platform agrees"
        } else {
            "THE LIVE PLATFORM DIFFERS"
        };
        rows.push(("compared".into(), text.into()));
    }
    properties(rows)
}
