//! The projection `accounts`: accounts and keys, every movement of money and points, and what they sum to.

use aevir_events::{
    Recorded,
    projection::{Column, Keys, Projection, ProjectionError, Rows, Table, Value},
};
use aevir_platform::{
    event::{Event, LedgerPosted, PointsChanged},
    ledger::LedgerAccount,
};
use async_trait::async_trait;

use super::{id, json, money, ms, name, position};
use crate::convert::name_of;

/// The projection.
#[derive(Debug)]
pub(super) struct Accounts;

type Done = Result<(), ProjectionError>;

const ACCOUNTS: &str = "accounts";
const KEYS: &str = "keys";
const BALANCES: &str = "balances";
const ENTRIES: &str = "ledger_entries";
const POINTS: &str = "points";
const CHANGES: &str = "point_changes";

const TABLES: &[Table] = &[
    Table {
        name: ACCOUNTS,
        about: "One row for each account.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("name", "For people; not unique."),
            Column::int("opened_at", "ms."),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: KEYS,
        about: "API keys, without their secrets.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("account", "`accounts.id`."),
            Column::text("label", ""),
            Column::text("scopes", "JSON array."),
            Column::text("node", "Node that it acts for.").or_null(),
            Column::int("revoked", "1 once it was."),
        ],
        key: 1,
        indexes: &[&["account", "id"]],
    },
    Table {
        name: BALANCES,
        about: "Balances of the ledger's accounts; together they are zero.",
        columns: &[
            Column::text(
                "account",
                "`external`, `treasury`, `account/<id>/available`, `account/<id>/pending` or `task/<id>/escrow`.",
            ),
            Column::int("amount", "micro-AEV."),
            Column::int(
                "open",
                "1 while the amount is not zero; of escrows few are.",
            ),
            Column::int("position", "Of the last entry."),
        ],
        key: 1,
        indexes: &[&["open", "account"]],
    },
    Table {
        name: ENTRIES,
        about: "Every posting; those of one position sum to zero.",
        columns: &[
            Column::int("position", "Of the event in the log."),
            Column::int("line", "Of the posting in the event, from 0."),
            Column::text("account", "`balances.account`."),
            Column::text(
                "owner",
                "Account whose money it is; a task's requester for its escrow is in `tasks`.",
            )
            .or_null(),
            Column::text("task", "`tasks.id`.").or_null(),
            Column::text(
                "reason",
                "`deposit`, `escrow`, `settlement`, `maturity` or `closure`.",
            ),
            Column::text("reference", "Of an external payment.").or_null(),
            Column::int("amount", "micro-AEV; below zero where it was taken away."),
            Column::int("posted_at", "ms."),
        ],
        key: 2,
        indexes: &[
            &["account", "position", "line"],
            &["owner", "position", "line"],
            &["task", "position", "line"],
        ],
    },
    Table {
        name: POINTS,
        about: "IntelliPoints of accounts that ever had some.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::int("compute", "Whole points."),
            Column::int("content", "Whole points."),
            Column::int("verification", "Whole points."),
            Column::int("total", "Over all tracks."),
        ],
        key: 1,
        indexes: &[&["total", "account"]],
    },
    Table {
        name: CHANGES,
        about: "Every change of IntelliPoints.",
        columns: &[
            Column::int("position", "Of the event in the log."),
            Column::text("account", "`accounts.id`."),
            Column::text("track", "`compute`, `content` or `verification`."),
            Column::int("delta", "Whole points."),
            Column::text(
                "reason",
                "`result-accepted`, `content-used`, `result-refused` or `lease-lost`.",
            ),
            Column::text("task", "`tasks.id`."),
            Column::text("assignment", "`assignments.id`.").or_null(),
            Column::int("changed_at", "ms."),
        ],
        key: 1,
        indexes: &[&["account", "position"], &["task"]],
    },
];

#[async_trait]
impl Projection<Event> for Accounts {
    fn name(&self) -> &'static str {
        super::ACCOUNTS
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn wants(&self, recorded: &Recorded<Event>, keys: &mut Keys) {
        if let Event::LedgerPosted(e) = &recorded.event {
            for posting in &e.postings {
                keys.add(BALANCES, [id(posting.account)]);
            }
        } else if let Event::PointsChanged(e) = &recorded.event {
            keys.add(POINTS, [id(e.account)]);
        } else if let Event::KeyRevoked(e) = &recorded.event {
            keys.add(KEYS, [id(e.key)]);
        }
    }

    async fn apply(&self, recorded: &Recorded<Event>, rows: &mut Rows<'_>) -> Done {
        match &recorded.event {
            Event::AccountOpened(e) => rows.insert(
                ACCOUNTS,
                [
                    ("id", id(e.account)),
                    ("name", e.name.as_str().into()),
                    ("opened_at", ms(recorded.time)),
                ],
            ),
            Event::KeyAdded(e) => {
                // A set, in the machine's order.
                let scopes: std::collections::BTreeSet<_> = e.scopes.iter().collect();
                let scopes: Vec<_> = scopes.into_iter().map(name_of).collect();
                rows.insert(
                    KEYS,
                    [
                        ("id", id(e.key)),
                        ("account", id(e.account)),
                        ("label", e.label.as_str().into()),
                        ("scopes", json(&scopes)?),
                        ("node", e.node.map(|n| n.to_string()).into()),
                        ("revoked", false.into()),
                    ],
                )
            }
            Event::KeyRevoked(e) => rows
                .row(KEYS, [id(e.key)])
                .await?
                .set("revoked", true)
                .map(drop),
            Event::LedgerPosted(e) => posted(rows, recorded, e).await,
            Event::PointsChanged(e) => changed(rows, recorded, e).await,
            Event::PolicyAdopted(_)
            | Event::EpochOpened(_)
            | Event::EpochClosed(_)
            | Event::LimitsSet(_)
            | Event::JoinTokenIssued(_)
            | Event::BlobUploaded(_)
            | Event::ModuleRegistered(_)
            | Event::ContentRegistered(_)
            | Event::NodeRegistered(_)
            | Event::AvailabilityChanged(_)
            | Event::ProfileChanged(_)
            | Event::TermsChanged(_)
            | Event::NodeDrained(_)
            | Event::NodeResumed(_)
            | Event::NodeLeft(_)
            | Event::KeyRotated(_)
            | Event::NodeRevoked(_)
            | Event::AccountSuspended(_)
            | Event::AccountReleased(_)
            | Event::NodeSuspended(_)
            | Event::NodeReleased(_)
            | Event::ContentSuspended(_)
            | Event::ContentReleased(_)
            | Event::ModuleSuspended(_)
            | Event::ModuleReleased(_)
            | Event::TaskCreated(_)
            | Event::TaskQueued(_)
            | Event::RoundClosed(_)
            | Event::TaskExtended(_)
            | Event::TaskHastened(_)
            | Event::TaskVerified(_)
            | Event::TaskSettled(_)
            | Event::TaskMatured(_)
            | Event::TaskClosed(_)
            | Event::AssignmentLeased(_)
            | Event::AssignmentStarted(_)
            | Event::AssignmentProgressed(_)
            | Event::AssignmentCheckpointed(_)
            | Event::OutputUploaded(_)
            | Event::AssignmentCommitted(_)
            | Event::AssignmentRevealed(_)
            | Event::AssignmentFailed(_)
            | Event::AssignmentLost(_)
            | Event::AssignmentReturned(_)
            | Event::AssignmentWithdrawn(_) => Ok(()),
        }
    }
}

async fn posted(rows: &mut Rows<'_>, recorded: &Recorded<Event>, e: &LedgerPosted) -> Done {
    let sum: i128 = e.postings.iter().map(|p| i128::from(p.amount.0)).sum();
    if sum != 0 {
        return Err(ProjectionError::refused(format!(
            "the postings sum to {sum}, not to zero"
        )));
    }
    let at = position(recorded.position)?;
    for (line, posting) in e.postings.iter().enumerate() {
        let balance = rows.entry(BALANCES, [id(posting.account)]).await?;
        let open = balance.add("amount", posting.amount.0)?.int("amount")? != 0;
        balance.set("open", open)?.set("position", at.clone())?;
        let owner = match posting.account {
            LedgerAccount::Available(account) | LedgerAccount::Pending(account) => id(account),
            LedgerAccount::External | LedgerAccount::Escrow(_) | LedgerAccount::Treasury => {
                Value::Null
            }
        };
        rows.insert(
            ENTRIES,
            [
                ("position", at.clone()),
                ("line", position(line as u64)?),
                ("account", id(posting.account)),
                ("owner", owner),
                ("task", e.task.map(|t| t.to_string()).into()),
                ("reason", name(&e.reason)),
                ("reference", e.reference.as_deref().into()),
                ("amount", money(posting.amount)),
                ("posted_at", ms(recorded.time)),
            ],
        )?;
    }
    Ok(())
}

async fn changed(rows: &mut Rows<'_>, recorded: &Recorded<Event>, e: &PointsChanged) -> Done {
    let points = rows.entry(POINTS, [id(e.account)]).await?;
    points
        .add(&name_of(&e.track), e.delta.0)?
        .add("total", e.delta.0)?;
    rows.insert(
        CHANGES,
        [
            ("position", position(recorded.position)?),
            ("account", id(e.account)),
            ("track", name(&e.track)),
            ("delta", e.delta.0.into()),
            ("reason", name(&e.reason)),
            ("task", id(e.task)),
            ("assignment", e.assignment.map(|a| a.to_string()).into()),
            ("changed_at", ms(recorded.time)),
        ],
    )
}
