//! Balances, points and policy.

use super::{Client, ClientError, call::Call};
use crate::{
    ledger::{Ledger, PointsTable},
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
}
