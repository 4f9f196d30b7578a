//! Accounts, API keys, join tokens and deposits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::points::Points;

/// Opens an account. `POST /v1/accounts`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// 1 to 64 printable characters; need not be unique.
    pub name: String,
    /// Scopes of the first key. Absent: those of an ordinary owner (`read`, `tasks:write`, `contents:write`,
    /// `nodes:write`, `keys:write`). Others: `audit`, `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// An account that was opened, with its first key, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenedAccount {
    pub account: String,
    pub name: String,
    pub key_id: String,
    /// The API key itself.
    pub key: String,
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for OpenedAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedAccount")
            .field("account", &self.account)
            .field("name", &self.name)
            .field("key_id", &self.key_id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// An account with its balances and points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    pub account: String,
    pub name: String,
    pub opened_at: String,
    /// In micro-AEV; can be spent.
    pub available: String,
    /// In micro-AEV; earned, but its dispute window is open.
    pub pending: String,
    /// In micro-AEV; asked for in withdrawals, and not yet paid out.
    pub withdrawing: String,
    pub points: Points,
}

/// Accounts in the order of their opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountPage {
    pub accounts: Vec<Account>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Books money that came in from outside. `POST /v1/accounts/{id}/deposits`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deposit {
    /// In micro-AEV, above zero.
    pub amount: String,
    /// The external payment's reference; each is booked once.
    pub reference: String,
}

/// A booked deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deposited {
    pub account: String,
    pub amount: String,
    pub reference: String,
    /// What the account can spend now, in micro-AEV.
    pub available: String,
}

/// Asks for money to be paid out. `POST /v1/account/withdrawals`, scope `keys:write`. It is set aside at once, and can't be
/// taken back: whoever pays may have paid already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestWithdrawal {
    /// In micro-AEV, above zero.
    pub amount: String,
    /// Where it is to go, as agreed with who runs the platform: 1 to 64 printable characters. It stands in the log.
    pub destination: String,
}

/// Money that an account asked to take out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawal {
    pub id: String,
    pub account: String,
    /// In micro-AEV.
    pub amount: String,
    pub destination: String,
    /// `open`, `paid` or `refused`.
    pub state: String,
    /// Of the external payment, once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub requested_at: String,
    /// When it was paid or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Withdrawals, oldest first. With the scope `audit` or `admin` those of all accounts, else the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WithdrawalPage {
    pub withdrawals: Vec<Withdrawal>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Books that a withdrawal was paid out. `POST /v1/accounts/{id}/withdrawals/{withdrawal}/payment`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayWithdrawal {
    /// The external payment's reference; each is booked once.
    pub reference: String,
}

/// Gives a withdrawal's money back to its account. `POST /v1/accounts/{id}/withdrawals/{withdrawal}/refusal`, scope `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefuseWithdrawal {
    /// Why; it is in the log.
    pub reason: String,
}

/// Adds an API key to the caller's account. `POST /v1/keys`, scope `keys:write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddKey {
    /// 1 to 64 printable characters.
    pub label: String,
    /// Not more than the calling key has.
    pub scopes: Vec<String>,
}

/// A key that was added; `key` is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedKey {
    pub id: String,
    pub key: String,
    pub label: String,
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for AddedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddedKey")
            .field("id", &self.id)
            .field("label", &self.label)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// An API key of the caller's account, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    pub id: String,
    pub label: String,
    pub scopes: Vec<String>,
    /// The node that it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub revoked: bool,
}

/// The caller's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    pub keys: Vec<Key>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Makes a token with which one node may join the caller's account. `POST /v1/join-tokens`, scope `nodes:write`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueJoinToken {
    /// How long it can be used, in seconds; an hour when absent, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// A join token, shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    pub token: String,
    pub expires: String,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
