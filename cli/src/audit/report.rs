//! What an audit found, for people and for programs.

use std::collections::BTreeMap;

use aevir_platform::{event::Track, ids::AccountId, state::State};
use serde::Serialize;

use crate::output::{aev, properties};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The first bad position; absent where only the history as a whole is known to be wrong.
    pub(crate) position: Option<u64>,
    pub(crate) reason: String,
}

impl Finding {
    pub(super) fn at(position: u64, reason: String) -> Self {
        Self {
            position: Some(position),
            reason,
        }
    }

    pub(super) fn somewhere(reason: String) -> Self {
        Self {
            position: None,
            reason,
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            Some(position) => write!(f, "position {position}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// One kind of check and how many times it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) count: u64,
}

/// What was not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unchecked {
    pub(crate) what: &'static str,
    pub(crate) why: String,
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub(crate) struct Audit {
    /// Nothing is wrong, as far as was checked.
    pub(crate) clean: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_bad: Option<Finding>,
    pub(crate) source: String,
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
    pub(crate) signatures: u64,
    pub(crate) checked: Vec<Check>,
    pub(crate) not_checked: Vec<Unchecked>,
    /// What the live platform says, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<Live>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reexecuted: Vec<super::reexecute::Reexecution>,
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

/// The platform's own word, at the size where it was asked.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    pub(crate) size: String,
    pub(crate) root: String,
    pub(crate) state_hash: String,
    /// Both are equal to the recomputed ones.
    pub(crate) equal: bool,
}

/// All balances.
pub(super) fn ledger(state: &State) -> AuditedLedger {
    let accounts = state.ledger.balances();
    AuditedLedger {
        sum: state.ledger.sum().to_string(),
        accounts: accounts
            .map(|(account, amount)| (account.to_string(), amount.to_string()))
            .collect(),
    }
}

/// All points.
pub(super) fn points(state: &State) -> BTreeMap<String, AuditedPoints> {
    let points = state.points.iter().map(|(account, points)| {
        let points = AuditedPoints {
            compute: points.on(Track::Compute).to_string(),
            content: points.on(Track::Content).to_string(),
            verification: points.on(Track::Verification).to_string(),
        };
        (AccountId::to_string(account), points)
    });
    points.collect()
}

/// Rows about balances and points; escrows are summed up.
pub(super) fn books(
    ledger: &AuditedLedger,
    points: &BTreeMap<String, AuditedPoints>,
) -> Vec<(String, String)> {
    let mut rows = vec![("ledger, sum".to_owned(), aev(&ledger.sum))];
    let is_escrow = |account: &str| account.starts_with("task/");
    let (escrows, accounts): (Vec<_>, Vec<_>) = ledger
        .accounts
        .iter()
        .partition(|(account, _)| is_escrow(account));
    let held: i128 = escrows
        .iter()
        .filter_map(|(_, a)| a.parse::<i128>().ok())
        .sum();
    let text = format!("{} in {} tasks", aev(&held.to_string()), escrows.len());
    rows.push(("ledger, escrows".into(), text));
    let balances = accounts.into_iter();
    rows.extend(balances.map(|(account, amount)| (format!("ledger, {account}"), aev(amount))));
    rows.extend(points.iter().map(|(account, points)| {
        let text = format!(
            "compute {}, content {}, verification {}",
            points.compute, points.content, points.verification
        );
        (format!("points, {account}"), text)
    }));
    rows
}

/// The report for people.
pub(super) fn shown(audit: &Audit) -> String {
    let verdict = match &audit.first_bad {
        None => "clean".to_owned(),
        Some(finding) => format!("BAD: {finding}"),
    };
    let mut rows = vec![
        ("audit".to_owned(), verdict),
        ("source".into(), audit.source.clone()),
        ("events".into(), audit.events.to_string()),
        ("root".into(), audit.root.clone()),
        ("state".into(), audit.state_hash.clone()),
        ("tasks".into(), audit.tasks.to_string()),
    ];
    rows.extend(books(&audit.ledger, &audit.points));
    if let Some(live) = &audit.live {
        let text = if live.equal {
            "it agrees"
        } else {
            "IT DIFFERS"
        };
        rows.push((
            "live platform".into(),
            format!("{text}, at {} events", live.size),
        ));
    }
    rows.extend(
        audit
            .checked
            .iter()
            .map(|c| (format!("checked, {}", c.what), c.count.to_string())),
    );
    rows.extend(
        audit
            .not_checked
            .iter()
            .map(|n| (format!("not checked, {}", n.what), n.why.clone())),
    );
    rows.extend(
        audit
            .reexecuted
            .iter()
            .map(|r| (format!("run again, {}", r.task), r.outcome())),
    );
    properties(rows)
}
