//! Accounts, keys, blobs, modules, contents and points.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{Amount, Count},
    command::{ContentKind, Lineage, Scope, World},
    content::{Access, Contributor},
    digest::Digest,
    ids::{AccountId, NodeId},
    report::Artifact,
};

/// An administrator's stop to what is new; what has begun goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    pub reason: String,
    pub since: Timestamp,
}

/// Somebody who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub opened_at: Timestamp,
    pub suspended: Option<Suspension>,
}

/// Money that an account wants to take out, until it is paid or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    pub amount: Amount,
    pub destination: String,
    pub requested_at: Timestamp,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub account: AccountId,
    pub label: String,
    pub hash: Digest,
    pub scopes: BTreeSet<Scope>,
    /// The node that it acts for.
    pub node: Option<NodeId>,
    pub revoked: bool,
}

/// A token with which one node may join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub account: AccountId,
    pub expires: Timestamp,
}

/// A blob that somebody may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// In bytes.
    pub size: Count,
    /// Who uploaded it, or got it as a result.
    pub owners: BTreeSet<AccountId>,
}

/// A registered module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Who pushed it, and under which name: the bytes are one module, whoever has them.
    pub names: BTreeMap<AccountId, String>,
    /// In bytes.
    pub size: Count,
    pub world: World,
    pub imports: Vec<String>,
    /// Memory that a node needs to compile it, in MiB.
    pub compile_mib: u32,
    /// Storage that its compiled form takes on a node, in MiB; 0 where nobody measured it.
    pub code_mib: u32,
    pub registered_at: Timestamp,
    pub suspended: Option<Suspension>,
    /// Nodes that could not compile it, each with the time until which it gets nothing that needs it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_compiled: BTreeMap<NodeId, Timestamp>,
}

/// How long a node that could not compile a module gets no task of it, in ms. A day: trying costs it minutes of all that its lease holds, and one
/// that was only busy may try again.
pub const NOT_COMPILED_MS: i64 = 86_400_000;

impl Module {
    /// Nodes that get no task of it now.
    pub(crate) fn barred(&self, now: Timestamp) -> impl Iterator<Item = NodeId> + '_ {
        let nodes = self.not_compiled.keys().copied();
        nodes.filter(move |node| self.bars(*node, now))
    }

    /// Whether a node gets no task of it now.
    pub(crate) fn bars(&self, node: NodeId, now: Timestamp) -> bool {
        let until = self.not_compiled.get(&node);
        until.is_some_and(|until| *until > now)
    }
}

/// A registered dataset or model version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub owner: AccountId,
    pub kind: ContentKind,
    pub name: String,
    pub version: String,
    pub files: Vec<Artifact>,
    pub licence: String,
    pub weight: u32,
    /// What each use costs from here on.
    pub price: Amount,
    pub access: Access,
    /// Who earns by it, where it is not its owner alone.
    pub contributors: Vec<Contributor>,
    pub lineage: Option<Lineage>,
    pub registered_at: Timestamp,
    pub suspended: Option<Suspension>,
}

impl Content {
    /// Who earns by it, with their weights.
    pub fn earners(&self) -> Vec<Contributor> {
        if self.contributors.is_empty() {
            return vec![Contributor {
                account: self.owner,
                weight: 1,
            }];
        }
        self.contributors.clone()
    }

    /// Whether an account may use it and see it.
    pub fn is_for(&self, account: AccountId) -> bool {
        self.owner == account
            || self.access.admits(account)
            || self.contributors.iter().any(|c| c.account == account)
    }

    /// A file by its name, or the only file when none is named.
    pub fn file(&self, name: Option<&str>) -> Option<&Artifact> {
        match (name, &self.files[..]) {
            (Some(name), files) => files.iter().find(|f| f.name == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}
