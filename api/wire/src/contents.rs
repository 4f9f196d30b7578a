//! Blobs, modules and contents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A blob's name (SHA-256 of its bytes, in hex) and size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    pub digest: String,
    pub size: String,
}

/// A named blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// `[A-Za-z0-9._-]{1,64}`.
    pub name: String,
    pub digest: String,
    /// In bytes.
    pub size: String,
}

/// A registered module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Module {
    /// SHA-256 of the component, which is the module's name in task definitions.
    pub digest: String,
    pub name: String,
    /// In bytes.
    pub size: String,
    /// The world of the guest interface that it fits: `task`, `check` or `comparator`.
    pub world: String,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Memory that a node needs to compile it, in MiB, as measured when it was judged: nodes that offer less get no task of it.
    pub compile_mib: u32,
    /// Storage that its compiled form takes on a node, in MiB, as measured then; 0 where it was not.
    pub code_mib: u32,
    pub registered_at: String,
}

/// The caller's modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModuleList {
    pub modules: Vec<Module>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Registers a dataset or a model version. `POST /v1/contents`, scope `contents:write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterContent {
    /// `dataset` or `model`.
    pub kind: String,
    /// 1 to 64 printable characters; name and version together are unique within an account.
    pub name: String,
    pub version: String,
    /// Blobs that the caller uploaded; 1 to 64.
    pub files: Vec<Artifact>,
    /// An SPDX expression, such as `CC-BY-4.0`, or `sha256:` and the digest of the licence's text; at most 128 characters.
    pub licence: String,
    /// Part of a task's content share relative to the task's other contents; 1 to 1,000.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// What each task that uses it pays for that, in micro-AEV.
    #[serde(default = "nothing")]
    pub price: String,
    #[serde(default)]
    pub access: Access,
    /// Who earns by it; the caller alone where nobody is named. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<Contributor>,
}

/// Who may use a content, beside its owner and its contributors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    #[default]
    Everybody,
    /// These accounts, at most 256. For every other one it isn't there.
    Accounts(Vec<String>),
}

/// Somebody who earns by a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contributor {
    pub account: String,
    /// The part of what the content earns, relative to its other contributors; 1 to 1,000.
    pub weight: u32,
}

/// On which terms later tasks use a content. `PUT /v1/contents/{id}/terms`, scope `contents:write`, by its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentTerms {
    /// In micro-AEV.
    pub price: String,
    pub access: Access,
}

/// What a task pays for using a content, in micro-AEV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentPrice {
    pub content: String,
    pub price: String,
}

fn nothing() -> String {
    "0".into()
}

fn default_weight() -> u32 {
    1
}

/// A registered dataset or model version. The catalogue shows an account what it may use; the bytes go to nodes alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Content {
    pub id: String,
    pub owner: String,
    pub kind: String,
    pub name: String,
    pub version: String,
    pub files: Vec<Artifact>,
    pub licence: String,
    pub weight: u32,
    /// What each task that uses it pays for that, in micro-AEV.
    #[serde(default = "nothing")]
    pub price: String,
    /// Absent for others than its owner where it is a list: nobody else's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Who earns by it; its owner alone where nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<Contributor>,
    /// Where a model that a task made comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    pub registered_at: String,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lineage {
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    pub contents: Vec<String>,
    pub tasks: Vec<String>,
    pub nodes: Vec<String>,
}

/// Contents in the order of their registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentPage {
    pub contents: Vec<Content>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
