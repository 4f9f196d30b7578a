//! `aevir audit`: recompute every state, balance and point from the log alone, and compare.
//!
//! The entries come from an exported file or from a live platform. Each is checked for its canonical bytes, position,
//! revision, time, and for whether the state can take it; then come the Merkle root, the state's hash and the ledger,
//! and the signature of every commitment. Amounts are recomputed by `docs/audit/recompute.py`, from the same file.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use aevir_events::{Entry, Replay, Replayed, state_hash};
use aevir_platform::{
    Platform,
    digest::Digest,
    event::Event,
    hexbytes::Hex,
    ids::AccountId,
    report::{NodeKey, SignedCommitment},
};
use aevir_wire::{Client, LogHead};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::{
    args::Global,
    output::{aev, print, properties},
};

/// What every audit checks.
const CHECKED: &str = "canonical bytes, positions, revisions, times, the state's consent to each event, the Merkle \
    root, the ledger's sum, the signature of every commitment";
/// What none does.
const NOT_CHECKED: &str = "the amounts of settlements and points, which docs/audit/recompute.py recomputes from an \
    exported log; the bytes of modules, inputs and outputs; results run again";

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
    /// Commitments whose signatures were verified with their nodes' registered keys.
    pub(crate) signatures: usize,
    pub(crate) checked: &'static str,
    pub(crate) not_checked: &'static str,
    /// `nothing`, or `live server`.
    pub(crate) compared_with: &'static str,
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

/// A replay that also gathers what nodes signed.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    replay: Replay<Platform>,
    signed: Vec<Signed>,
}

/// A commitment of the log, with the key that its node had registered.
#[derive(Debug)]
struct Signed {
    position: u64,
    key: NodeKey,
    commitment: Digest,
    signature: Hex<64>,
}

impl Auditor {
    /// Checks and folds the next entry.
    ///
    /// # Errors
    /// When it is damaged, or a commitment is of a node that is not registered; the message names the position.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<()> {
        let recorded = self.replay.push(entry)?;
        if let Event::AssignmentCommitted(committed) = &recorded.event {
            let position = recorded.position;
            let node = self.replay.state().nodes.get(&committed.node);
            let node = node.with_context(|| {
                format!("the commitment at position {position} is of an unknown node")
            })?;
            self.signed.push(Signed {
                position,
                key: node.public_key,
                commitment: committed.commitment,
                signature: committed.signature,
            });
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> &aevir_platform::state::State {
        self.replay.state()
    }

    fn size(&self) -> u64 {
        self.replay.size()
    }

    /// Verifies the signatures and sums up.
    ///
    /// # Errors
    /// When a signature is false; the message names the position.
    pub(crate) fn finish(self) -> Result<Audit> {
        verify(&self.signed)?;
        examine(self.replay.finish(), self.signed.len())
    }
}

/// Verifies all signatures, on all cores.
fn verify(signed: &[Signed]) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = signed.len().div_ceil(cores).max(1);
    let first_false = std::thread::scope(|scope| {
        let shares: Vec<_> = signed
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().find(|s| !s.is_genuine())))
            .collect();
        let found = shares.into_iter().map(|share| {
            share
                .join()
                .map_err(|_| anyhow::anyhow!("a thread that verifies signatures panicked"))
        });
        found.collect::<Result<Vec<_>>>()
    })?;
    match first_false.into_iter().flatten().next() {
        None => Ok(()),
        Some(signed) => bail!(
            "the commitment at position {} was not signed with its node's key",
            signed.position
        ),
    }
}

impl Signed {
    fn is_genuine(&self) -> bool {
        SignedCommitment::check(self.key, self.commitment, self.signature).is_ok()
    }
}

pub(crate) async fn audit(args: AuditArgs, global: &Global) -> Result<()> {
    let audit = match (&args.file, args.compare) {
        (Some(file), false) => read_file(file, None)?.finish()?,
        (Some(file), true) => {
            let head = global.keyed_client()?.log_head(true).await?;
            compare(read_file(file, Some(size_of(&head)?))?.finish()?, head)?
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
    let mut replay = Auditor::default();
    while let Some(entry) = entries.next_line().await {
        replay.push(&Entry(entry?))?;
    }
    ensure!(
        replay.size() == size,
        "the server sent {} of {size} entries",
        replay.size()
    );
    compare(replay.finish()?, head)
}

fn size_of(head: &LogHead) -> Result<u64> {
    head.size.parse().context("the log's size is no number")
}

/// Replays an exported log, or its first `limit` entries.
///
/// # Errors
/// When the file can't be read, is shorter, or is damaged; the message names the position.
fn read_file(file: &Path, limit: Option<u64>) -> Result<Auditor> {
    let named = || format!("`{}` can't be read", file.display());
    let mut lines = BufReader::new(File::open(file).with_context(named)?);
    let mut replay = Auditor::default();
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
    Ok(replay)
}

/// Sums up a replayed log.
///
/// # Errors
/// When the state has no JSON form.
fn examine(replayed: Replayed<Platform>, signatures: usize) -> Result<Audit> {
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
        signatures,
        checked: CHECKED,
        not_checked: NOT_CHECKED,
        compared_with: "nothing",
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
        compared_with: "live server",
        ..audit
    })
}

fn shown(audit: &Audit) -> String {
    let mut rows = vec![
        ("events".to_owned(), audit.events.to_string()),
        ("root".into(), audit.root.clone()),
        ("state".into(), audit.state_hash.clone()),
        ("tasks".into(), audit.tasks.to_string()),
        (
            "signatures".into(),
            format!("{} verified", audit.signatures),
        ),
        ("ledger, sum".into(), aev(&audit.ledger.sum)),
    ];
    let is_escrow = |account: &str| account.starts_with("task/");
    let (escrows, accounts): (Vec<_>, Vec<_>) = audit
        .ledger
        .accounts
        .iter()
        .partition(|(account, _)| is_escrow(account));
    let held: i128 = escrows
        .iter()
        .filter_map(|(_, a)| a.parse::<i128>().ok())
        .sum();
    let text = format!("{} in {} tasks", aev(&held.to_string()), escrows.len());
    rows.push(("ledger, escrows".into(), text));
    rows.extend(
        accounts
            .into_iter()
            .map(|(account, amount)| (format!("ledger, {account}"), aev(amount))),
    );
    rows.extend(audit.points.iter().map(|(account, points)| {
        let text = format!(
            "compute {}, content {}, verification {}",
            points.compute, points.content, points.verification
        );
        (format!("points, {account}"), text)
    }));
    let compared = match &audit.live {
        None => audit.compared_with.to_owned(),
        Some(live) if live.equal => format!("{}: it agrees", audit.compared_with),
        Some(_) => format!("{}: IT DIFFERS", audit.compared_with),
    };
    rows.push(("compared with".into(), compared));
    rows.push(("checked".into(), audit.checked.into()));
    rows.push(("not checked".into(), audit.not_checked.into()));
    properties(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_false_signature_is_named_by_its_position() {
        let key = aevir_node::NodeKey::from_seed([7; 32]);
        let commitment = Digest([3; 32]);
        let text = key.sign_hex(&aevir_platform::report::commit_message(commitment));
        let signed = |position, commitment| Signed {
            position,
            key: key.public_hex().parse().unwrap(),
            commitment,
            signature: text.parse().unwrap(),
        };
        verify(&[signed(1, commitment), signed(2, commitment)]).unwrap();
        let error = verify(&[signed(1, commitment), signed(9, Digest([4; 32]))]).unwrap_err();
        assert!(error.to_string().contains("position 9"), "{error}");
    }
}
