//! Balances, points, policy, and the log's end.

use super::{Client, ClientError, call::Call};
use crate::{
    ledger::{Ledger, PointsTable},
    log::LogHead,
    policy::{AdoptedPolicy, Policy},
};

impl Client {
    /// Every balance. Scope `audit` or `admin`.
    pub async fn ledger(&self) -> Result<Ledger, ClientError> {
        self.fetch(Call::get("/v1/ledger")).await
    }

    pub async fn points(&self) -> Result<PointsTable, ClientError> {
        self.fetch(Call::get("/v1/points")).await
    }

    pub async fn policy(&self) -> Result<AdoptedPolicy, ClientError> {
        self.fetch(Call::get("/v1/policy")).await
    }

    /// Scope `admin`.
    pub async fn adopt_policy(&self, policy: &Policy) -> Result<AdoptedPolicy, ClientError> {
        self.fetch(Call::put("/v1/policy").keyed(None).json(policy)?)
            .await
    }

    /// Scope `audit`. The state's hash costs a walk over the whole state.
    pub async fn log_head(&self, with_state_hash: bool) -> Result<LogHead, ClientError> {
        let call = Call::get("/v1/log/head").query("state_hash", with_state_hash.then_some(true));
        self.fetch(call).await
    }
}
