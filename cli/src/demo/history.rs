//! What the exported log says: replayed from position 0, as an auditor would.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use aevir_events::{CloudEventLine, Entry, Replay};
use aevir_platform::{
    Platform,
    event::{Event, PointsReason, Track},
    ids::AccountId,
    state::State,
};
use anyhow::{Context, Result};
use serde_json::Value;

use crate::audit::{Audit, audit_file};

/// The replayed log.
#[derive(Debug)]
pub(super) struct History {
    pub(super) audit: Audit,
    /// Compute points taken for refused results.
    pub(super) punishments: Vec<Punishment>,
}

/// Points that an account lost for a refused result.
#[derive(Debug)]
pub(super) struct Punishment {
    pub(super) account: String,
    pub(super) before: i64,
    pub(super) after: i64,
}

/// Audits an exported log, and replays it once more to see punishments.
pub(super) async fn read(file: &Path) -> Result<History> {
    let audit = audit_file(file).await?;
    let lines = BufReader::new(File::open(file).context("the exported log can't be read")?);
    let mut replay = Replay::<Platform>::default();
    let mut punishments = Vec::new();
    for line in lines.split(b'\n') {
        let entry = CloudEventLine::read(&line?)?.entry;
        let punished = punished(&entry, replay.state());
        replay.push(&entry)?;
        if let Some((account, before)) = punished {
            punishments.push(Punishment {
                account: account.to_string(),
                before,
                after: compute_points(replay.state(), account),
            });
        }
    }
    Ok(History { audit, punishments })
}

/// Whom an entry punishes, and the compute points before it.
fn punished(entry: &Entry, state: &State) -> Option<(AccountId, i64)> {
    let envelope: Value = serde_json::from_slice(entry.as_ref()).ok()?;
    if envelope["type"] != "points.changed" {
        return None;
    }
    let Event::PointsChanged(changed) = entry.decode::<Event>().ok()?.event else {
        return None;
    };
    let is_punishment = changed.reason == PointsReason::ResultRefused;
    is_punishment.then(|| (changed.account, compute_points(state, changed.account)))
}

fn compute_points(state: &State, account: AccountId) -> i64 {
    state.points(account, Track::Compute)
}
