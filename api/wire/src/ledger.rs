//! Balances, postings and statements.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Balances that are not zero, by ledger account. `GET /v1/ledger`, scope `audit` or `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Micro-AEV by ledger account: `external`, `treasury`, `account/<id>/available`, `account/<id>/pending`,
    /// `account/<id>/withdrawing`, `task/<id>/escrow`, `node/<id>/stake`, `pool/<epoch>`.
    pub balances: BTreeMap<String, String>,
    /// Over all accounts: zero.
    pub sum: String,
    /// How many log entries are folded into these balances.
    pub size: String,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One posting of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntry {
    /// Of the event in the log; the postings of one event sum to zero.
    pub position: String,
    /// Of the posting in the event, from 0.
    pub line: u32,
    pub time: String,
    /// A ledger account, such as `account/<id>/available`.
    pub account: String,
    /// In micro-AEV; below zero where it was taken away.
    pub amount: String,
    /// `deposit`, `escrow`, `settlement`, `maturity`, `closure`, `withdrawal`, `payout`, `withdrawal-refused`, `stake`, `unstake`, `slash`, `pool`, `reward`, `pool-expired` or `reversal`.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Of an external payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Postings, oldest first. With the scope `audit` or `admin` those of all accounts, else the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntryPage {
    pub entries: Vec<LedgerEntry>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What moved on the accounts of one owner in a period. `GET /v1/account/statement`. For each of them `opening` and the amounts
/// of its entries sum to `closing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    pub account: String,
    /// The period begins here; absent: with the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It ends just before this.
    pub to: String,
    /// What is available, pending and withdrawing, and the stakes of the account's nodes.
    pub balances: Vec<StatementBalance>,
    pub entries: Vec<StatementEntry>,
    /// Give this as `after`, with the same period, for the next page of entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A ledger account before and after a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementBalance {
    /// Such as `account/<id>/available`.
    pub account: String,
    /// In micro-AEV.
    pub opening: String,
    pub closing: String,
}

/// One posting of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementEntry {
    /// Of the event in the log.
    pub position: String,
    /// Of the posting in the event, from 0.
    pub line: u32,
    pub time: String,
    pub account: String,
    /// In micro-AEV; below zero where it was taken away.
    pub amount: String,
    /// Of the account after it.
    pub balance: String,
    /// As in `GET /v1/ledger/entries`.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Of an external payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where it came from or went to.
    pub counter_accounts: Vec<String>,
}
