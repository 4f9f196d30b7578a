//! IntelliPoints, why they are what they are, and what they are rewarded with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// IntelliPoints by track, whole points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Points {
    pub compute: String,
    pub content: String,
    pub verification: String,
}

/// One change of IntelliPoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointsChange {
    /// Of the event in the log.
    pub position: String,
    pub time: String,
    pub account: String,
    /// `compute`, `content` or `verification`.
    pub track: String,
    /// How many epochs closed since the last change of the account's track.
    pub epochs: u32,
    /// What they took off it: points with three decimals.
    pub faded: String,
    /// Whole points; below zero where they were lost.
    pub delta: String,
    /// `result-accepted`, `content-used`, `result-refused` or `lease-lost`.
    pub reason: String,
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<String>,
    /// What the track has after it: points with three decimals.
    pub after: String,
}

/// Changes of points, oldest first. With the scope `audit` or `admin` those of all accounts, else the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointsChangePage {
    pub changes: Vec<PointsChange>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One row of the leaderboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountPoints {
    pub account: String,
    pub name: String,
    pub points: Points,
    pub total: String,
}

/// Points by account, most first, over all tracks or on one. With the scope `audit` or `admin` those of all accounts, else the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointsTable {
    pub accounts: Vec<AccountPoints>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why an account has the points that it has. `GET /v1/points/explanation`. On each track the first change begins at zero, and
/// `after` less the next change's `faded` plus its `delta` is its `after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PointsExplanation {
    pub account: String,
    /// Oldest first.
    pub changes: Vec<PointsChange>,
    /// What became of them since.
    pub tracks: Vec<TrackPoints>,
    /// Give this as `after` for the next page of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An account's points on one track. All of them with three decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackPoints {
    /// `compute`, `content` or `verification`.
    pub track: String,
    /// What its last change left.
    pub last: String,
    /// How many epochs closed since.
    pub epochs: u32,
    /// What they took off.
    pub faded: String,
    /// What there is.
    pub points: String,
}

/// An epoch. `GET /v1/epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    pub opened_at: String,
    /// Absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    /// What part of all points was kept when it closed, in parts per million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_keep_ppm: Option<u32>,
    /// What its pool got, in micro-AEV; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
    /// All points at its end, with three decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<String>,
    /// What is left of its pool, in micro-AEV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclaimed: Option<String>,
}

/// Epochs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EpochPage {
    pub epochs: Vec<Epoch>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an account can claim, or claimed. `GET` and `POST /v1/account/rewards`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rewards {
    /// All of it, in micro-AEV.
    pub amount: String,
    pub parts: Vec<RewardPart>,
}

/// A part of one epoch's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RewardPart {
    pub epoch: u32,
    /// The account's points at the epoch's end, with three decimals.
    pub points: String,
    /// In micro-AEV.
    pub amount: String,
}
