//! Accounts, keys, join tokens, and what the server says of itself.

use super::{Client, ClientError, call::Call};
use crate::{
    accounts::{
        Account, AccountPage, AddKey, AddedKey, Deposit, Deposited, IssueJoinToken, JoinToken,
        KeyList, OpenAccount, OpenedAccount, PayWithdrawal, RefuseWithdrawal, RequestWithdrawal,
        Withdrawal, WithdrawalPage,
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

    /// Asks for money to be paid out. Scope `keys:write`.
    pub async fn request_withdrawal(
        &self,
        request: &RequestWithdrawal,
    ) -> Result<Withdrawal, ClientError> {
        let call = Call::post("/v1/account/withdrawals").keyed(None);
        self.fetch(call.json(request)?).await
    }

    /// The caller's withdrawals; all of them for the scopes `audit` and `admin`. `state` is `open`, `paid` or `refused`;
    /// `after` is the last page's `next`.
    pub async fn withdrawals(
        &self,
        account: Option<&str>,
        state: Option<&str>,
        after: Option<&str>,
    ) -> Result<WithdrawalPage, ClientError> {
        let call = Call::list("/v1/withdrawals")
            .query("account", account)
            .query("state", state)
            .query("after", after);
        self.fetch(call).await
    }

    /// Books that a withdrawal was paid out. Scope `admin`.
    pub async fn pay_withdrawal(
        &self,
        account: &str,
        withdrawal: &str,
        request: &PayWithdrawal,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/accounts/{account}/withdrawals/{withdrawal}/payment");
        // Made of the payment itself, so that a repeat by whoever makes it answers the original outcome.
        let same = format!("{account} {withdrawal} {}", request.reference);
        let key = report::digest(same.as_bytes());
        let call = Call::post(path).keyed(Some(&key));
        self.execute(call.json(request)?).await
    }

    /// Gives a withdrawal's money back to its account. Scope `admin`.
    pub async fn refuse_withdrawal(
        &self,
        account: &str,
        withdrawal: &str,
        request: &RefuseWithdrawal,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/accounts/{account}/withdrawals/{withdrawal}/refusal");
        let call = Call::post(path).keyed(None);
        self.execute(call.json(request)?).await
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
