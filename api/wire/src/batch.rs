//! Many calls of a node in one request: each item is what a call of its own would be, and is answered apart.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    node::{Commit, Fail, Reveal},
    problem::Problem,
};

/// Values of a JSON body that a server reads: read, `{"":0}` takes a hundred times its bytes. No body has more of them than bytes.
pub const JSON_VALUES_MAX: usize = 64 * 1024;

/// Items of one batch.
pub const BATCH_ITEMS_MAX: usize = 64;

/// What a node says of its assignments. `POST /v1/node/assignments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// 1 to 64. They are taken in no certain order: of one assignment, send the next thing once this one is answered.
    pub items: Vec<BatchItem>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    pub assignment: String,
    pub call: NodeCall,
}

/// What the node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeCall {
    /// As `POST /v1/node/assignments/{id}/start`.
    Start,
    /// As `POST /v1/node/assignments/{id}/commit`.
    Commit(Commit),
    /// As `POST /v1/node/assignments/{id}/reveal`.
    Reveal(Box<Reveal>),
    /// As `POST /v1/node/assignments/{id}/fail`.
    Fail(Fail),
    /// As `POST /v1/node/assignments/{id}/return`.
    Return,
}

/// One answer for each item, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswers {
    pub answers: Vec<BatchAnswer>,
}

/// What became of an item: taken, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    pub assignment: String,
    /// Absent: it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}
