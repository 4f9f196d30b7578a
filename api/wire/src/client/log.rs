//! The log's end, its checkpoints and proofs, and the published log itself.

use bytes::Bytes;

use super::{Client, ClientError, call::Call};
use crate::log::{ConsistencyProof, InclusionProof, LogCheckpoint, LogHead, LogKey, TaskReceipt};

impl Client {
    /// Scope `audit`. The state's hash costs a walk over the whole state.
    pub async fn log_head(&self, with_state_hash: bool) -> Result<LogHead, ClientError> {
        let call = Call::get("/v1/log/head").query("state_hash", with_state_hash.then_some(true));
        self.fetch(call).await
    }

    /// What to pin. Needs no key.
    pub async fn log_key(&self) -> Result<LogKey, ClientError> {
        self.fetch(Call::get("/v1/log/key")).await
    }

    /// The newest checkpoint; one that covers `min_size` entries where that is given.
    pub async fn log_checkpoint(
        &self,
        min_size: Option<u64>,
    ) -> Result<LogCheckpoint, ClientError> {
        let call = Call::get("/v1/log/checkpoint").query("min_size", min_size);
        self.fetch(call).await
    }

    /// The proof that entry `index` is in the tree of `size`; of the newest checkpoint where none is given.
    pub async fn log_inclusion(
        &self,
        index: u64,
        size: Option<u64>,
    ) -> Result<InclusionProof, ClientError> {
        let call = Call::get("/v1/log/inclusion").query("index", Some(index));
        self.fetch(call.query("size", size)).await
    }

    /// The proof that the tree of `to` entries begins with that of `from`.
    pub async fn log_consistency(
        &self,
        from: u64,
        to: u64,
    ) -> Result<ConsistencyProof, ClientError> {
        let call = Call::get("/v1/log/consistency").query("from", Some(from));
        self.fetch(call.query("to", Some(to))).await
    }

    /// The proof that a task's settlement, or how else it ended, is in the log.
    pub async fn task_receipt(&self, id: &str) -> Result<TaskReceipt, ClientError> {
        self.fetch(Call::get(format!("/v1/tasks/{id}/receipt")))
            .await
    }

    /// A file of the published log, such as `checkpoint` or `tile/0/000`; `None` where there is none. Bundles of
    /// entries need the scope `audit`, unless the log is public.
    pub async fn published(&self, path: &str) -> Result<Option<Bytes>, ClientError> {
        match self.send(&Call::get(format!("/log/{path}"))).await {
            Ok(response) => Ok(Some(
                response.bytes().await.map_err(ClientError::Transport)?,
            )),
            Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}
