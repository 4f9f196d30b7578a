//! Signs of life, and what runs say.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::report::MetricValue;

/// Signs of life. `POST /v1/node/heartbeats`; extends the leases of the named assignments, and also shows that the
/// node is online when it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeats {
    pub assignments: Vec<Heartbeat>,
    /// The node is about to stop: it does not count as online by this.
    #[serde(default)]
    pub stopping: bool,
}

/// One assignment's sign of life, with what happened since the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    pub assignment: String,
    /// Progress in parts per million.
    pub ppm: u32,
    /// A word on what the run is doing; at most 400 characters are kept.
    #[serde(default)]
    pub note: String,
    /// The number of the first of `logs`, or of the line that comes next: how many lines the run has logged before, whether or not any heartbeat
    /// carried them. A line whose number is not new is known already, and one that is passed over was dropped. Agents before 2026-11-26 number
    /// nothing: all their lines are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<u32>,
    /// Log lines, in the order of their numbers; at most 200 are kept of one heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// Lines that the run has logged so far and that have no number, for they passed its limit.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lines_left_out: u32,
    /// Of agents that number nothing: lines that they dropped since the last heartbeat.
    #[serde(default, skip_serializing_if = "is_none")]
    pub logs_dropped: u32,
    /// The number of the first of `metrics`, as `first_line` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_metric: Option<u32>,
    /// Values of metrics, in the order of their numbers; at most 200 are kept of one heartbeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricValue>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with one")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// A line that a module logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// At most 1,000 characters are kept.
    pub text: String,
}
