//! IntelliPoints and rewards.

use super::{Client, ClientError, call::Call};
use crate::points::{EpochPage, PointsChangePage, PointsExplanation, PointsTable, Rewards};

impl Client {
    /// The leaderboard: over all tracks, or on one. `after` is the last page's `next`.
    pub async fn points(
        &self,
        track: Option<&str>,
        after: Option<&str>,
    ) -> Result<PointsTable, ClientError> {
        let call = Call::list("/v1/points")
            .query("track", track)
            .query("after", after);
        self.fetch(call).await
    }

    /// `after` is the last page's `next`.
    pub async fn points_changes(
        &self,
        account: Option<&str>,
        task: Option<&str>,
        after: Option<&str>,
    ) -> Result<PointsChangePage, ClientError> {
        let call = Call::list("/v1/points/changes")
            .query("account", account)
            .query("task", task)
            .query("after", after);
        self.fetch(call).await
    }

    /// Why an account has the points that it has: the caller's own when absent. `after` is the last page's `next`.
    pub async fn explain_points(
        &self,
        account: Option<&str>,
        after: Option<&str>,
    ) -> Result<PointsExplanation, ClientError> {
        let call = Call::list("/v1/points/explanation")
            .query("account", account)
            .query("after", after);
        self.fetch(call).await
    }

    /// Epochs, newest first. `after` is the last page's `next`.
    pub async fn epochs(&self, after: Option<&str>) -> Result<EpochPage, ClientError> {
        self.fetch(Call::list("/v1/epochs").query("after", after))
            .await
    }

    /// What the caller's account can claim.
    pub async fn rewards(&self) -> Result<Rewards, ClientError> {
        self.fetch(Call::get("/v1/account/rewards")).await
    }

    /// Takes the caller's parts of all open pools.
    pub async fn claim_rewards(&self) -> Result<Rewards, ClientError> {
        self.fetch(Call::post("/v1/account/rewards").keyed(None))
            .await
    }
}
