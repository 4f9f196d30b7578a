//! `aevir audit`: recompute every state, balance and point from the log alone, and compare.
//!
//! Entries come from an exported file, a live platform or a log's database ([`source`]). Parsing, hashing, canonical form
//! and schemas are spread over all cores, as are signatures; the fold goes in order, with the tree, the tiles and the
//! recomputation of every command beside it ([`checks`]). What is reported is the first bad position of all of them.

mod at;
mod checks;
mod engine;
mod reexecute;
mod report;
mod signatures;
mod source;
mod subject;
#[cfg(test)]
mod tests;
mod tiles;

use std::path::{Path, PathBuf};

use aevir_events::tlog::VerifierKey;
use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    args::{Global, Output},
    output::print,
};
use reexecute::{Blobs, Reexecution, reexecute};
pub(crate) use report::Audit;
use subject::Subject;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AuditArgs {
    /// An exported log (`aevir log export`), plain or Zstandard. Without a file and a database: the live log of the
    /// platform, whose own word is compared with what its log makes (scope `audit`).
    #[arg(long)]
    file: Option<PathBuf>,
    /// A log's database, read-only: `postgres://...` or the path of a `log.sqlite`.
    #[arg(long, value_name = "PLACE", conflicts_with = "file")]
    database: Option<String>,
    /// Compare a file or a database, too, with what the live platform says: root and state.
    #[arg(long)]
    compare: bool,
    /// The log's public key, as in `log.pub`, which checkpoints must be signed with.
    #[arg(long, env = "AEVIR_LOG_VKEY", value_name = "VKEY")]
    log_key: Option<VerifierKey>,
    /// A signed checkpoint of the log [default: FILE.checkpoint where it is there and the key is given].
    #[arg(long, value_name = "FILE", requires = "log_key")]
    checkpoint: Option<PathBuf>,
    /// An earlier signed checkpoint that you kept: shows forks, truncation and restored backups. Can be repeated.
    #[arg(long, value_name = "FILE", requires = "log_key")]
    since: Vec<PathBuf>,
    /// Audit without a signed checkpoint although the key is given: what was cut off or replaced as a whole stays unseen.
    #[arg(long, requires = "log_key")]
    allow_unsigned: bool,
    /// A folder with the published log (`checkpoint`, `tile/...`), compared with the entries.
    #[arg(long, value_name = "DIR", requires = "log_key")]
    tiles: Option<PathBuf>,
    /// Audit everything, and show balances, points and states as they were after this position, or as of this time.
    #[arg(long, value_name = "POSITION|TIME", conflicts_with_all = ["compare", "reexecute"])]
    at: Option<String>,
    /// Run this settled task again from its blobs, and compare outputs, result and fuel. Can be repeated.
    #[arg(long, value_name = "TASK")]
    reexecute: Vec<String>,
    /// A folder with the blobs to run from; without it the platform is asked, with the account's key.
    #[arg(long, value_name = "DIR", requires = "reexecute")]
    blobs: Option<PathBuf>,
    /// Print the report as one JSON document (as --output json does).
    #[arg(long)]
    json: bool,
}

pub(crate) async fn audit(args: AuditArgs, global: &Global) -> Result<()> {
    let output = if args.json {
        Output::Json
    } else {
        global.output
    };
    let subject = Subject::of(&args, global).await?;
    let mut examined = engine::examine(subject).await?;
    if let Some(at) = &args.at
        && examined.audit.first_bad.is_none()
    {
        let events = examined.audit.events;
        let as_of = examined.as_of.with_context(|| {
            format!("the log has only {events} entries, so there is no position {at}")
        })?;
        return print(output, &as_of, || as_of.shown());
    }
    if examined.audit.first_bad.is_none() {
        for task in &args.reexecute {
            let again = run_again(&args, global, examined.state(), task).await?;
            examined.audit.reexecuted.push(again);
        }
    }
    let audit = &examined.audit;
    print(output, audit, || report::shown(audit))?;
    if let Some(finding) = &audit.first_bad {
        bail!("{finding}");
    }
    if let Some(differs) = audit.reexecuted.iter().find(|again| !again.equal) {
        bail!(
            "task {} run again is not equal: {}",
            differs.task,
            differs.detail
        );
    }
    Ok(())
}

async fn run_again(
    args: &AuditArgs,
    global: &Global,
    state: &aevir_platform::state::State,
    task: &str,
) -> Result<Reexecution> {
    let blobs = match &args.blobs {
        Some(folder) => Blobs::Folder(folder.clone()),
        None => Blobs::Server(global.keyed_client()?),
    };
    reexecute(state, task, &blobs).await
}

/// Audits an exported file by itself.
///
/// # Errors
/// When it can't be read. What is wrong with it stands in the report.
pub(crate) async fn audit_file(file: &Path) -> Result<Audit> {
    let subject = Subject::file(file, None)?;
    Ok(engine::examine(subject).await?.audit)
}
