//! The double-entry ledger: balances are the sums of postings, and all of them together are zero.

use std::{collections::BTreeMap, fmt, str::FromStr};

use aevir_events::{Corrupt, from_text, is_plain_decimal};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    amount::Amount,
    event::Posting,
    ids::{AccountId, NodeId, TaskId},
};

/// An account of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// The world outside: deposits come from here, so it is the one that runs below zero.
    External,
    /// `account/<id>/available`: can be spent.
    Available(AccountId),
    /// `account/<id>/pending`: earned, but the dispute window is open.
    Pending(AccountId),
    /// `account/<id>/withdrawing`: asked for, and not yet paid out or refused.
    Withdrawing(AccountId),
    /// `task/<id>/escrow`: what a task may still cost.
    Escrow(TaskId),
    /// `node/<id>/stake`: what the node's owner put up for its results.
    Stake(NodeId),
    /// `pool/<epoch>`: what the epoch's points can claim.
    Pool(u32),
    /// The platform's own.
    Treasury,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external"),
            Self::Available(account) => write!(f, "account/{account}/available"),
            Self::Pending(account) => write!(f, "account/{account}/pending"),
            Self::Withdrawing(account) => write!(f, "account/{account}/withdrawing"),
            Self::Escrow(task) => write!(f, "task/{task}/escrow"),
            Self::Stake(node) => write!(f, "node/{node}/stake"),
            Self::Pool(epoch) => write!(f, "pool/{epoch}"),
            Self::Treasury => f.write_str("treasury"),
        }
    }
}

/// A text that names no ledger account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no ledger account")]
pub struct NotALedgerAccount(String);

impl FromStr for LedgerAccount {
    type Err = NotALedgerAccount;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let parsed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("external"), None, None, None) => Some(Self::External),
            (Some("treasury"), None, None, None) => Some(Self::Treasury),
            (Some("account"), Some(id), Some("available"), None) => {
                id.parse().ok().map(Self::Available)
            }
            (Some("account"), Some(id), Some("pending"), None) => {
                id.parse().ok().map(Self::Pending)
            }
            (Some("account"), Some(id), Some("withdrawing"), None) => {
                id.parse().ok().map(Self::Withdrawing)
            }
            (Some("task"), Some(id), Some("escrow"), None) => id.parse().ok().map(Self::Escrow),
            (Some("node"), Some(id), Some("stake"), None) => id.parse().ok().map(Self::Stake),
            // One spelling for each number.
            (Some("pool"), Some(epoch), None, None) if is_plain_decimal(epoch) => {
                epoch.parse().ok().map(Self::Pool)
            }
            (_, _, _, _) => None,
        };
        parsed.ok_or_else(|| NotALedgerAccount(text.into()))
    }
}

impl Serialize for LedgerAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LedgerAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl JsonSchema for LedgerAccount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LedgerAccount".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(external|treasury|pool/[1-9][0-9]{0,9}|account/[0-9A-Z]{26}/(available|pending|withdrawing)|task/[0-9A-Z]{26}/escrow|node/[0-9A-Z]{26}/stake)$"
        })
    }
}

/// All balances. An account that is empty is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    balances: BTreeMap<LedgerAccount, Amount>,
}

impl Ledger {
    /// The balance of an account; zero where nothing was ever posted.
    pub fn balance(&self, account: LedgerAccount) -> Amount {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    /// Every account that is not empty.
    pub fn balances(&self) -> impl Iterator<Item = (LedgerAccount, Amount)> + '_ {
        self.balances
            .iter()
            .map(|(account, amount)| (*account, *amount))
    }

    /// The sum over all accounts: zero, or the ledger is damaged.
    pub fn sum(&self) -> i128 {
        self.balances.values().map(|a| i128::from(a.0)).sum()
    }

    /// Applies postings, all or none.
    ///
    /// # Errors
    /// When they do not sum to zero, overflow, or take an account other than `external` below zero.
    pub fn post(&mut self, postings: &[Posting]) -> Result<(), Corrupt> {
        let sum: i128 = postings.iter().map(|p| i128::from(p.amount.0)).sum();
        if sum != 0 {
            return Err(Corrupt(format!("postings sum to {sum}, not to zero")));
        }
        let mut changed: BTreeMap<LedgerAccount, Amount> = BTreeMap::new();
        for posting in postings {
            let before = changed
                .get(&posting.account)
                .copied()
                .unwrap_or_else(|| self.balance(posting.account));
            let after = before.plus(posting.amount).ok_or_else(|| {
                Corrupt(format!("the balance of {} passes 64 bits", posting.account))
            })?;
            changed.insert(posting.account, after);
        }
        if let Some((account, _)) = changed
            .iter()
            .find(|(a, b)| b.0 < 0 && **a != LedgerAccount::External)
        {
            return Err(Corrupt(format!(
                "the balance of {account} would be below zero"
            )));
        }
        for (account, amount) in changed {
            if amount == Amount::ZERO {
                self.balances.remove(&account);
            } else {
                self.balances.insert(account, amount);
            }
        }
        Ok(())
    }
}
