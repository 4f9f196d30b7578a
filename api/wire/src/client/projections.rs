//! The views that lists are served from.

use super::{Client, ClientError, call::Call};
use crate::projections::{ProjectionList, Rebuild};

impl Client {
    /// Scope `admin`.
    pub async fn projections(&self) -> Result<ProjectionList, ClientError> {
        self.fetch(Call::get("/v1/projections")).await
    }

    /// Folds a projection anew beside what is served; scope `admin`. Repeating it answers the same rebuild.
    pub async fn rebuild_projection(&self, name: &str) -> Result<Rebuild, ClientError> {
        let call = Call::post(format!("/v1/projections/{name}/rebuild"));
        self.fetch(call.repeatable()).await
    }
}
