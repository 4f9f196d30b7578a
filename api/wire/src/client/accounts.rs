//! Accounts, keys, join tokens, and what the server says of itself.

use super::{Client, ClientError, call::Call};
use crate::{
    accounts::{
        Account, AccountPage, AddKey, AddedKey, Deposit, Deposited, IssueJoinToken, JoinToken,
        KeyList, OpenAccount, OpenedAccount,
    },
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
        self.fetch(Call::get("/v1/accounts").query("after", after))
            .await
    }

    /// Scope `admin`. A deposit's reference makes it safe to repeat.
    pub async fn deposit(
        &self,
        account: &str,
        request: &Deposit,
    ) -> Result<Deposited, ClientError> {
        let call = Call::post(format!("/v1/accounts/{account}/deposits"));
        // The reference is unique already; as the idempotency key it makes a repeat answer the original outcome.
        let key = format!("deposit-{}", request.reference);
        let key = key.is_ascii().then_some(key);
        self.fetch(call.keyed(key.as_deref()).json(request)?).await
    }

    pub async fn add_key(&self, request: &AddKey) -> Result<AddedKey, ClientError> {
        self.fetch(Call::post("/v1/keys").json(request)?).await
    }

    pub async fn keys(&self) -> Result<KeyList, ClientError> {
        self.fetch(Call::get("/v1/keys")).await
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
