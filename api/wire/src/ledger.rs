//! Balances and IntelliPoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// IntelliPoints by track, whole points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Points {
    pub compute: String,
    pub content: String,
    pub verification: String,
}

/// Every balance that is not zero. `GET /v1/ledger`, scope `audit` or `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Micro-AEV by ledger account: `external`, `treasury`, `account/<id>/available`, `account/<id>/pending`,
    /// `task/<id>/escrow`.
    pub balances: BTreeMap<String, String>,
    /// Over all accounts: zero.
    pub sum: String,
    /// How many log entries are folded into these balances.
    pub size: String,
}

/// One row of the leaderboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountPoints {
    pub account: String,
    pub name: String,
    pub points: Points,
    pub total: String,
}

/// Points by account, most first. With the scope `audit` or `admin` those of all accounts, else the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointsTable {
    pub accounts: Vec<AccountPoints>,
}
