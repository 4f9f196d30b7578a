//! The views that lists are served from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One generation of a projection's tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Projection {
    pub name: String,
    /// Names its tables; counts up over all projections.
    pub generation: String,
    /// Of the code that folded it.
    pub version: u32,
    /// `building` until it is level with the log, then `live`; `retired` before its tables are dropped.
    pub state: String,
    /// How many events are folded.
    pub position: String,
    /// How many events the log has.
    pub size: String,
    /// The difference.
    pub lag: String,
    /// The event at which it stopped for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Why it stopped, or what it is trying again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /v1/projections`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectionList {
    pub projections: Vec<Projection>,
}

/// A rebuild that is on its way. `POST /v1/projections/{name}/rebuild`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rebuild {
    pub name: String,
    /// The generation that will be live.
    pub generation: String,
}
