//! The demo's outcome for people.

use std::collections::BTreeMap;

use super::document::Document;
use crate::output::{aev, properties, table};

/// All tables, one below the other.
pub(super) fn shown(document: &Document) -> String {
    let parts = [
        ("Tasks", tasks(document)),
        ("Who earned what (AEV)", earnings(document)),
        ("IntelliPoints", points(document)),
        ("Ledger (AEV)", ledger(document)),
        ("Promises", promises(document)),
    ];
    let parts = parts.map(|(title, body)| format!("{title}\n{body}\n"));
    format!("\n{}", parts.join("\n"))
}

fn name<'a>(document: &'a Document, id: &'a str) -> &'a str {
    document.names.get(id).map_or(id, String::as_str)
}

fn names(document: &Document, ids: &[String]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    let names: Vec<_> = ids.iter().map(|id| name(document, id)).collect();
    names.join(", ")
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn tasks(document: &Document) -> String {
    table(
        ["TASK", "STATE", "ACCEPTED", "REFUSED", "TIME", "FEE"],
        document.tasks.iter().map(|task| {
            [
                task.kind.clone(),
                task.state.clone(),
                names(document, &task.nodes),
                names(document, &task.refused_nodes),
                seconds(task.duration_ms),
                aev(&task.fee),
            ]
        }),
    )
}

fn earnings(document: &Document) -> String {
    let mut sums: BTreeMap<(String, &str), (i64, Vec<&str>)> = BTreeMap::new();
    for earning in &document.earnings {
        let who = earning
            .account
            .as_deref()
            .map_or("treasury", |account| name(document, account));
        let sum = sums
            .entry((who.to_owned(), earning.role.as_str()))
            .or_default();
        sum.0 += earning.amount.parse::<i64>().unwrap_or_default();
        if !sum.1.contains(&earning.task.as_str()) {
            sum.1.push(&earning.task);
        }
    }
    table(
        ["WHO", "FOR", "AMOUNT", "IN"],
        sums.into_iter().map(|((who, role), (amount, tasks))| {
            [
                who,
                role.to_owned(),
                aev(&amount.to_string()),
                tasks.join(", "),
            ]
        }),
    )
}

fn points(document: &Document) -> String {
    table(
        ["WHO", "COMPUTE", "CONTENT"],
        document.points.iter().map(|(account, points)| {
            [
                name(document, account).to_owned(),
                points.compute.to_string(),
                points.content.to_string(),
            ]
        }),
    )
}

/// `account/01J.../available` with the account's name.
fn ledger_account(document: &Document, account: &str) -> String {
    let parts: Vec<_> = account
        .split('/')
        .map(|part| name(document, part))
        .collect();
    match parts[..] {
        ["account", who, what] => format!("{who}, {what}"),
        _ => account.to_owned(),
    }
}

fn ledger(document: &Document) -> String {
    let accounts = document.ledger.accounts.iter();
    let rows = accounts.map(|(account, amount)| (ledger_account(document, account), aev(amount)));
    let sum = ("sum".to_owned(), aev(&document.ledger.sum));
    properties(rows.chain([sum]))
}

fn promises(document: &Document) -> String {
    let (cheater, killed, log) = (&document.cheater, &document.killed, &document.log);
    properties([
        (
            "accuracy",
            format!("{:.4}, at least 0.95 was asked for", document.accuracy),
        ),
        (
            "cheater",
            format!(
                "{} was {}; its owner's points fell from {} to {}",
                name(document, &cheater.node),
                if cheater.caught {
                    "caught"
                } else {
                    "NOT caught"
                },
                cheater.points_before,
                cheater.points_after
            ),
        ),
        (
            "crash",
            format!(
                "{} was killed; {} finished in its place",
                name(document, &killed.node),
                name(document, &killed.finished_on)
            ),
        ),
        (
            "log",
            format!(
                "{} events; replayed from position 0 into {}",
                log.events,
                if log.replay_equal {
                    "the same state"
                } else {
                    "ANOTHER state"
                }
            ),
        ),
        ("Merkle root", log.root.clone()),
        (
            "receipts",
            format!(
                "{} settlements, each proven with the log's key alone",
                log.receipts
            ),
        ),
        ("log key", log.key.clone()),
        (
            "GPU",
            format!("{} ({})", document.adapter.name, document.adapter.class),
        ),
        ("took", seconds(document.duration_ms)),
    ])
}
