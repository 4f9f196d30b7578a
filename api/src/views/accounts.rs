//! The projection `accounts`: accounts and keys, every movement of money and points, and what they sum to.

use aevir_events::{
    Recorded,
    projection::{Keys, Projection, ProjectionError, Rows, Table, Value},
};
use aevir_platform::{
    event::{Event, LedgerPosted, WithdrawalRequested},
    ledger::LedgerAccount,
};
use async_trait::async_trait;

use super::{
    accounts_points,
    accounts_tables::{ACCOUNTS, BALANCES, ENTRIES, KEYS, NODE_OWNERS, TABLES, WITHDRAWALS},
    id, json, money, ms, name, position,
};
use crate::convert::name_of;

/// The projection.
#[derive(Debug)]
pub(super) struct Accounts;

type Done = Result<(), ProjectionError>;

#[async_trait]
impl Projection<Event> for Accounts {
    fn name(&self) -> &'static str {
        super::ACCOUNTS
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn wants(&self, recorded: &Recorded<Event>, keys: &mut Keys) {
        if let Event::LedgerPosted(e) = &recorded.event {
            for posting in &e.postings {
                keys.add(BALANCES, [id(posting.account)]);
                if let LedgerAccount::Stake(node) = posting.account {
                    keys.add(NODE_OWNERS, [id(node)]);
                }
            }
        } else if let Event::PointsChanged(e) = &recorded.event {
            accounts_points::wants(e, keys);
        } else if let Event::KeyRevoked(e) = &recorded.event {
            keys.add(KEYS, [id(e.key)]);
        } else if let Event::WithdrawalPaid(e) = &recorded.event {
            keys.add(WITHDRAWALS, [id(e.withdrawal)]);
        } else if let Event::WithdrawalRefused(e) = &recorded.event {
            keys.add(WITHDRAWALS, [id(e.withdrawal)]);
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
            Event::PointsChanged(e) => accounts_points::changed(rows, recorded, e).await,
            Event::EpochOpened(e) => accounts_points::epoch_opened(rows, recorded.time, e),
            Event::EpochClosed(e) => accounts_points::epoch_closed(rows, recorded.time, e).await,
            Event::RewardsClaimed(e) => accounts_points::claimed(rows, recorded, e),
            Event::NodeRegistered(e) => {
                rows.insert(NODE_OWNERS, [("node", id(e.node)), ("owner", id(e.owner))])
            }
            Event::WithdrawalRequested(e) => requested(rows, recorded, e),
            Event::WithdrawalPaid(e) => {
                let withdrawal = rows.row(WITHDRAWALS, [id(e.withdrawal)]).await?;
                withdrawal
                    .set("state", "paid")?
                    .set("ended_at", ms(recorded.time))?
                    .set("position", position(recorded.position)?)
                    .map(drop)
            }
            Event::WithdrawalRefused(e) => {
                let withdrawal = rows.row(WITHDRAWALS, [id(e.withdrawal)]).await?;
                withdrawal
                    .set("state", "refused")?
                    .set("reason", e.reason.as_str())?
                    .set("ended_at", ms(recorded.time))?
                    .set("position", position(recorded.position)?)
                    .map(drop)
            }
            Event::PolicyAdopted(_)
            | Event::LimitsSet(_)
            | Event::JoinTokenIssued(_)
            | Event::BlobUploaded(_)
            | Event::ModuleRegistered(_)
            | Event::ContentRegistered(_)
            | Event::ContentTermsChanged(_)
            | Event::AvailabilityChanged(_)
            | Event::ProfileChanged(_)
            | Event::TermsChanged(_)
            | Event::ComputeChecked(_)
            | Event::NodeDrained(_)
            | Event::NodeResumed(_)
            | Event::NodeLeft(_)
            | Event::KeyRotated(_)
            | Event::NodeRevoked(_)
            | Event::NodeSlashed(_)
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
            | Event::TrustDecided(_)
            | Event::TaskReserved(_)
            | Event::ReviewOpened(_)
            | Event::TaskReviewed(_)
            | Event::InspectionOpened(_)
            | Event::TaskInspected(_)
            | Event::TaskVerified(_)
            | Event::TaskSettled(_)
            | Event::TaskMatured(_)
            | Event::TaskClosed(_)
            | Event::AssignmentLeased(_)
            | Event::AssignmentStarted(_)
            | Event::AssignmentProgressed(_)
            | Event::AssignmentCheckpointed(_)
            | Event::OutputUploaded(_)
            | Event::OutputClosed(_)
            | Event::AssignmentShown(_)
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
    let mut owners = Vec::with_capacity(e.postings.len());
    for posting in &e.postings {
        owners.push(owner(rows, posting.account).await?);
    }
    for (line, posting) in e.postings.iter().enumerate() {
        let balance = rows.entry(BALANCES, [id(posting.account)]).await?;
        let after = balance.add("amount", posting.amount.0)?.int("amount")?;
        balance
            .set("open", after != 0)?
            .set("position", at.clone())?;
        let owner = owners.get(line).cloned().unwrap_or(Value::Null);
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
                ("balance", after.into()),
                (
                    "counter_accounts",
                    json(&counter_accounts(e, line, &owners))?,
                ),
                ("posted_at", ms(recorded.time)),
            ],
        )?;
    }
    Ok(())
}

/// Whose money an account of the ledger holds.
async fn owner(rows: &mut Rows<'_>, account: LedgerAccount) -> Result<Value, ProjectionError> {
    match account {
        LedgerAccount::Available(account)
        | LedgerAccount::Pending(account)
        | LedgerAccount::Withdrawing(account) => Ok(id(account)),
        LedgerAccount::Stake(node) => {
            let row = rows.row(NODE_OWNERS, [id(node)]).await?;
            Ok(row.text("owner")?.into())
        }
        LedgerAccount::External
        | LedgerAccount::Escrow(_)
        | LedgerAccount::Pool(_)
        | LedgerAccount::Treasury => Ok(Value::Null),
    }
}

/// The accounts on the other side of a posting. Where the owner's own are among them it is those: what else moved in the same
/// event is other people's.
fn counter_accounts(e: &LedgerPosted, line: usize, owners: &[Value]) -> Vec<String> {
    let Some(posting) = e.postings.get(line) else {
        return Vec::new();
    };
    let sides = e.postings.iter().zip(owners);
    let other_side = || {
        let sides = sides.clone();
        sides.filter(|(p, _)| (p.amount.0 < 0) != (posting.amount.0 < 0))
    };
    let owner = owners.get(line).filter(|owner| **owner != Value::Null);
    let own: Vec<String> = other_side()
        .filter(|(_, of)| Some(*of) == owner)
        .map(|(p, _)| p.account.to_string())
        .collect();
    if own.is_empty() {
        other_side().map(|(p, _)| p.account.to_string()).collect()
    } else {
        own
    }
}

fn requested(rows: &mut Rows<'_>, recorded: &Recorded<Event>, e: &WithdrawalRequested) -> Done {
    rows.insert(
        WITHDRAWALS,
        [
            ("id", id(e.withdrawal)),
            ("account", id(e.account)),
            ("amount", money(e.amount)),
            ("destination", e.destination.as_str().into()),
            ("state", "open".into()),
            ("requested_at", ms(recorded.time)),
            ("position", position(recorded.position)?),
        ],
    )
}
