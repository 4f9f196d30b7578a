//! On which terms a content is used, and who earns by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    ids::{AccountId, ContentId},
    state::Content,
};

/// Accounts on one access list: it stands in one entry of the log.
pub const ACCESS_MAX: usize = 256;
/// Contributors of one content.
pub const CONTRIBUTORS_MAX: usize = 16;
/// The weight of a content among those of a task, and of a contributor among those of a content.
pub const WEIGHT_MAX: u32 = 1_000;
/// The most that a content may cost for each use: a million AEV, so that 64 of them do not pass 64 bits.
pub const PRICE_MAX: Amount = Amount(1_000_000_000_000);
/// Characters of a licence: an SPDX expression, or `sha256:` and the digest of its text.
pub const LICENCE_CHARS_MAX: usize = 128;
/// Ancestors of a content that earn by it: the nearest generations first, and the older contents before the younger.
pub const ANCESTORS_MAX: usize = 16;
/// Generations of ancestors that a policy may let earn.
pub const GENERATIONS_MAX: u8 = 8;
/// Lineages that are looked at for one content's ancestors: somebody who trains on his own models a thousand times makes a long way to
/// the first of them.
const LINEAGES_MAX: usize = 64;

/// Who may use a content, beside its owner and those who earn by it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    #[default]
    Everybody,
    /// These accounts. For every other one it isn't there.
    Accounts(BTreeSet<AccountId>),
}

impl Access {
    /// Every account may use it.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Everybody => true,
            Self::Accounts(_) => false,
        }
    }

    /// Whether it names the account, or all of them.
    pub fn admits(&self, account: AccountId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Accounts(accounts) => accounts.contains(&account),
        }
    }
}

/// Somebody who earns by a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contributor {
    pub account: AccountId,
    /// The part of what the content earns, relative to its other contributors; 1 to 1,000.
    pub weight: u32,
}

/// What a task pays for using a content, by the terms that held when it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentPrice {
    pub content: ContentId,
    pub price: Amount,
}

/// A content that another one was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    pub content: ContentId,
    /// 1 for what it was made of, 2 for what that was made of, and so on.
    pub generation: u8,
}

/// The ancestors of a content that earn by it, nearest first. Contents of the same owner are looked through as if their parents stood in
/// their place: nobody pays himself, and nobody makes a stranger's content more distant by training his own models in between.
pub(crate) fn ancestors(contents: &BTreeMap<ContentId, Content>, id: ContentId) -> Vec<Ancestor> {
    let Some(content) = contents.get(&id).filter(|c| c.lineage.is_some()) else {
        return Vec::new();
    };
    let mut found: Vec<Ancestor> = Vec::new();
    let mut seen = BTreeSet::from([id]);
    let mut looked_at = 0;
    let mut line = VecDeque::from([id]);
    for generation in 1..=GENERATIONS_MAX {
        let mut next: BTreeSet<ContentId> = BTreeSet::new();
        while let Some(of) = line.pop_front() {
            let lineage = contents.get(&of).and_then(|c| c.lineage.as_ref());
            let Some(lineage) = lineage.filter(|l| !l.contents.is_empty()) else {
                continue;
            };
            if looked_at == LINEAGES_MAX {
                break;
            }
            looked_at += 1;
            for parent in &lineage.contents {
                let Some(owner) = contents.get(parent).map(|c| c.owner) else {
                    continue;
                };
                if !seen.insert(*parent) {
                    continue;
                }
                if owner == content.owner {
                    line.push_back(*parent);
                } else {
                    next.insert(*parent);
                }
            }
        }
        found.extend(next.iter().map(|content| Ancestor {
            content: *content,
            generation,
        }));
        if found.len() >= ANCESTORS_MAX {
            found.truncate(ANCESTORS_MAX);
            break;
        }
        line = next.into_iter().collect();
    }
    found
}
