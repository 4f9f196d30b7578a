//! Accounts, keys, join tokens, and what the server says of itself.

use super::{Client, ClientError, call::Call};
use crate::{
    accounts::{
        Account, AccountPage, AddKey, AddedKey, Deposit, Deposited, IssueJoinToken, JoinToken,
        KeyList, OpenAccount, OpenedAccount,
    },
    policy::AccountLimits,
    report,
    server::{Health, Readiness, Version},
};

impl Client {
    /// Whether the server's process answers.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.fetch(Call::get("/health").once()).await
    }

    /// Whether the server can write to its log; while it can't, this is the error `not-ready`.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        self.fetch(Call::get("/ready").once()).await
    }

    pub async fn version(&self) -> Result<Version, ClientError> {
        self.fetch(Call::get("/v1/version")).await
    }

    /// Scope `admin`. Not repeated by itself: the key in the answer is shown once.
    pub async fn open_account(&self, request: &OpenAccount) -> Result<OpenedAccount, ClientError> {
        self.fetch(Call::post("/v1/accounts").json(request)?).await
    }

    /// The caller's own account.
    pub async fn account(&self) -> Result<Account, ClientError> {
        self.fetch(Call::get("/v1/account")).await
    }

    /// Scope `admin` or `audit`; `after` is the last page's `next`.
    pub async fn accounts(&self, after: Option<&str>) -> Result<AccountPage, ClientError> {
        self.fetch(Call::list("/v1/accounts").query("after", after))
            .await
    }

    /// An account's share and quotas.
    pub async fn limits(&self, account: &str) -> Result<AccountLimits, ClientError> {
        self.fetch(Call::get(format!("/v1/accounts/{account}/limits")))
            .await
    }

    /// Scope `admin`.
    pub async fn set_limits(
        &self,
        account: &str,
        limits: &AccountLimits,
    ) -> Result<AccountLimits, ClientError> {
        let call = Call::put(format!("/v1/accounts/{account}/limits")).keyed(None);
        self.fetch(call.json(limits)?).await
    }

    /// Scope `admin`. A deposit's reference makes it safe to repeat.
    pub async fn deposit(
        &self,
        account: &str,
        request: &Deposit,
    ) -> Result<Deposited, ClientError> {
        let call = Call::post(format!("/v1/accounts/{account}/deposits"));
        // Made of the deposit itself, so that a repeat by whoever makes it answers the original outcome.
        let same = format!("{account} {} {}", request.amount, request.reference);
        let key = report::digest(same.as_bytes());
        self.fetch(call.keyed(Some(&key)).json(request)?).await
    }

    pub async fn add_key(&self, request: &AddKey) -> Result<AddedKey, ClientError> {
        self.fetch(Call::post("/v1/keys").json(request)?).await
    }

    /// `after` is the last page's `next`.
    pub async fn keys(&self, after: Option<&str>) -> Result<KeyList, ClientError> {
        self.fetch(Call::list("/v1/keys").query("after", after))
            .await
    }

    pub async fn revoke_key(&self, key: &str) -> Result<(), ClientError> {
        self.execute(Call::delete(format!("/v1/keys/{key}"))).await
    }

    /// A token with which one node may join the caller's account.
    pub async fn issue_join_token(
        &self,
        request: &IssueJoinToken,
    ) -> Result<JoinToken, ClientError> {
        self.fetch(Call::post("/v1/join-tokens").json(request)?)
            .await
    }
}
