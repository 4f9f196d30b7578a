//! Tasks.

use std::path::Path;

use serde_json::Value;

use super::{Client, ClientError, call::Call};
use crate::{
    plan::{Quote, Why},
    tasks::{
        AssignmentPage, CloseOutcome, DisputeTask, Disputed, SubmittedTask, Task, TaskLog,
        TaskPage, TaskResult,
    },
};

/// Which tasks to list. The default: the newest of the caller's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    pub state: Option<String>,
    /// `training`, `inference`, `evaluation` or `data-processing`.
    pub kind: Option<String>,
    /// `name=value`.
    pub label: Option<String>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<u32>,
    /// The last page's `next`.
    pub after: Option<String>,
    /// Those of all accounts; scope `audit` or `admin`.
    pub all_accounts: bool,
    /// Those of this account; scope `audit` or `admin` for another than one's own.
    pub requester: Option<String>,
    /// RFC 3339; created then or later.
    pub created_from: Option<String>,
    /// RFC 3339; created before.
    pub created_to: Option<String>,
}

/// Which assignments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignmentFilter {
    pub task: Option<String>,
    pub node: Option<String>,
    pub state: Option<String>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<u32>,
    /// The last page's `next`.
    pub after: Option<String>,
}

impl Client {
    /// Submits a task definition (`schemas/task.v1.json`). With `idempotency_key` a later repeat of this call
    /// answers the same task; without one only this call's own retries do.
    pub async fn submit_task(
        &self,
        definition: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<SubmittedTask, ClientError> {
        let call = Call::post("/v1/tasks").keyed(idempotency_key);
        self.fetch(call.json(definition)?).await
    }

    /// What a task would cost and when it would be done; nothing is stored.
    pub async fn quote_task(&self, definition: &Value) -> Result<Quote, ClientError> {
        let call = Call::post("/v1/tasks:quote").repeatable();
        self.fetch(call.json(definition)?).await
    }

    /// Why a task waits.
    pub async fn why_task(&self, id: &str) -> Result<Why, ClientError> {
        self.fetch(Call::get(format!("/v1/tasks/{id}/why"))).await
    }

    pub async fn tasks(&self, filter: &TaskFilter) -> Result<TaskPage, ClientError> {
        let call = Call::list("/v1/tasks")
            .query("state", filter.state.as_deref())
            .query("type", filter.kind.as_deref())
            .query("label", filter.label.as_deref())
            .query("limit", filter.limit)
            .query("after", filter.after.as_deref())
            .query("all", filter.all_accounts.then_some(true))
            .query("requester", filter.requester.as_deref())
            .query("created_from", filter.created_from.as_deref())
            .query("created_to", filter.created_to.as_deref());
        self.fetch(call).await
    }

    pub async fn assignments(
        &self,
        filter: &AssignmentFilter,
    ) -> Result<AssignmentPage, ClientError> {
        let call = Call::list("/v1/assignments")
            .query("task", filter.task.as_deref())
            .query("node", filter.node.as_deref())
            .query("state", filter.state.as_deref())
            .query("limit", filter.limit)
            .query("after", filter.after.as_deref());
        self.fetch(call).await
    }

    pub async fn task(&self, id: &str) -> Result<Task, ClientError> {
        self.fetch(Call::get(format!("/v1/tasks/{id}"))).await
    }

    /// Cancels a task: work done under a lease is paid, the rest of the escrow comes back.
    pub async fn cancel_task(&self, id: &str) -> Result<CloseOutcome, ClientError> {
        let call = Call::post(format!("/v1/tasks/{id}/cancel"));
        self.fetch(call.keyed(None)).await
    }

    /// Has a verdict looked at again by fresh replicas.
    pub async fn dispute_task(
        &self,
        id: &str,
        dispute: &DisputeTask,
    ) -> Result<Disputed, ClientError> {
        let call = Call::post(format!("/v1/tasks/{id}/dispute"));
        self.fetch(call.json(dispute)?.keyed(None)).await
    }

    /// The inline result, once it is open; before that the error `result-not-open`.
    pub async fn task_result(&self, id: &str) -> Result<TaskResult, ClientError> {
        self.fetch(Call::get(format!("/v1/tasks/{id}/result")))
            .await
    }

    /// Downloads an output of a task into a file; `digest` as the task's verdict names it.
    pub async fn download_output(
        &self,
        id: &str,
        name: &str,
        digest: &str,
        to: &Path,
    ) -> Result<u64, ClientError> {
        self.download(format!("/v1/tasks/{id}/outputs/{name}"), digest, to)
            .await
    }

    /// The newest log lines and metrics of the task's runs.
    pub async fn task_log(&self, id: &str) -> Result<TaskLog, ClientError> {
        self.fetch(Call::get(format!("/v1/tasks/{id}/log"))).await
    }
}
