//! Tasks: what became of them, their results, and how to follow them.
//!
//! A task definition is sent as it stands in the requester's file and checked against `schemas/task.v1.json`; it has no type here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    contents::{Artifact, BlobRef, ContentPrice},
    plan::Waiting,
    report::{MetricValue, Report},
};

/// A task that was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedTask {
    pub id: String,
    /// `created` while it waits for other tasks, else `queued`.
    pub state: String,
    /// What was locked of the requester's balance: the worst case, in micro-AEV.
    pub escrow: String,
}

/// A row of a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    pub id: String,
    pub requester: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub state: String,
    pub labels: BTreeMap<String, String>,
    pub created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it cost, in micro-AEV, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<String>,
}

/// Tasks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    pub tasks: Vec<TaskSummary>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A row of a list of assignments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssignmentSummary {
    pub id: String,
    pub task: String,
    pub node: String,
    /// Of the node.
    pub owner: String,
    /// Absent for a node's owner while the run lasts: who runs in a later round decides between others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// As [`Assignment::state`].
    pub state: String,
    /// As [`Assignment::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub leased_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Assignments, newest first: of the caller's tasks and on its nodes, or all with the scope `audit` or `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssignmentPage {
    pub assignments: Vec<AssignmentSummary>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Parts per million.
    pub ppm: u32,
    pub note: String,
}

/// Everything about one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    pub id: String,
    pub requester: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `created`, `queued`, `running`, `verifying`, `inspecting`, `settled`, `unmet`, `overturned`, `inconclusive`, `failed`, `expired` or
    /// `cancelled`.
    pub state: String,
    /// Whether nothing more will happen to its assignments.
    pub ended: bool,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// As recorded: digests in place of inline inputs.
    pub definition: Value,
    pub definition_digest: String,
    pub seed: String,
    pub policy_version: u32,
    /// In micro-AEV.
    pub escrow: String,
    /// Part of it: what the contents that it uses cost, each that costs something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<ContentPrice>,
    pub created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// From queued to ended, in ms, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<String>,
    pub round: u32,
    pub replicas_wanted: u32,
    /// How many results the verdict rests on: all replicas that agree (`repeated`), or one of a trusted node (`alone`). An adaptive sample is
    /// `undecided` until its first result is sealed.
    pub sample: String,
    pub attempts_spent: u32,
    pub inputs: Vec<Artifact>,
    /// The replica that is furthest, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// While a replica waits for a node: how many nodes can't take it, by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    pub assignments: Vec<Assignment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The verifiers that look, or looked, at its result before the verdict, by the methods that ask for them. What they cost is in the
    /// settlements of their tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inspections: Vec<TaskInspection>,
    /// The task whose result it looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspects: Option<String>,
    /// Where its verdict is or was looked at again. Until that ends nothing of it matures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<TaskReview>,
    /// The task whose verdict it looks at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<String>,
    /// Tasks whose verdicts were overturned, and on whose results it rests: by their outputs, or by models that they trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted_by: Vec<String>,
    /// Who got what, once a verdict was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Settlement>,
    /// The path of its receipt, once it has ended: the proof that its settlement or closure is in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// The model that it registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Files of its `model.target` that it did not register, which another account had registered before it ran, each with that content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_of_others: BTreeMap<String, String>,
}

/// One node's try at the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Assignment {
    pub id: String,
    pub node: String,
    pub node_name: String,
    pub owner: String,
    pub round: u32,
    /// `leased`, `running`, `committed`, `revealed`, `accepted`, `refused`, `lost`, `failed`, `returned` or `withdrawn`.
    pub state: String,
    pub leased_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was lost, failed or was returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The run that it duplicates, because the task may be late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubles: Option<String>,
    /// The checkpoint that it resumed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<String>,
    /// The node that made that checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_author: Option<String>,
    /// What it earns if it is accepted in time, in micro-AEV; the most that it can earn, where that goes by what it uses.
    pub price: String,
    /// At its lease the node had as much stake free as the policy asks for.
    pub is_staked: bool,
    /// Of the node's stake, what is locked for it, in micro-AEV.
    pub stake: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
    /// For `refused`: `mismatch`, `apart` or `not-revealed`; for `lost`: `not-started`, `silent`, `revoked` or `not-revealed`; for `failed`: the
    /// class; for `returned`: `counted` where it spent an attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The message of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it revealed; shown once the result is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// The verdict on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// `passed`, `unmet` or `inconclusive`.
    pub verdict: String,
    /// Assignments.
    pub accepted: Vec<String>,
    pub refused: Vec<Refusal>,
    pub checks: Vec<CheckResult>,
    pub outputs: Vec<Artifact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BlobRef>,
    /// Metrics of the accepted result.
    pub metrics: Vec<MetricValue>,
    /// Later than `max_latency_ms`.
    pub late: bool,
}

/// A replica that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    pub assignment: String,
    pub node: String,
    /// `mismatch`, `apart` or `not-revealed`.
    pub reason: String,
}

/// The outcome of one contract check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckResult {
    /// `schema`, `model outputs` or `metric <name>`.
    pub check: String,
    pub passed: bool,
    pub detail: String,
}

/// What the task cost and who got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settlement {
    /// In micro-AEV.
    pub fee: String,
    pub refund: String,
    /// Of the refund, what waits until the result matures: it stood alone, and looking at it again would cost so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    pub shares: Vec<Share>,
    /// The end of the dispute window, when the shares become available, or became. Absent where nothing matures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matures_at: Option<String>,
    /// When they became available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matured_at: Option<String>,
}

/// One party's part of a fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// `compute`, `content`, `royalty`, `platform` or `attempt`.
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// In micro-AEV.
    pub amount: String,
}

/// A verdict that is doubted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisputeTask {
    /// Stands in the log, for everybody to see: 1 to 200 printable characters.
    pub reason: String,
    /// The most to put up, in micro-AEV. As much is taken as fresh replicas may cost.
    pub bond: String,
}

/// A verdict that is being looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disputed {
    pub id: String,
    /// The task that runs it again.
    pub review: String,
    /// What was taken, in micro-AEV.
    pub bond: String,
}

/// Verifiers that look at a task's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskInspection {
    /// The task that they work on.
    pub by: String,
    /// The method that asks for them: its place in the definition's `verification`.
    pub method: u32,
    /// The two assignments whose results they compare. Empty where they look at the one that nodes agree on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<String>,
    /// What of the escrow is for them, in micro-AEV.
    pub escrow: String,
    /// `open`, `passed`, `failed` or `undecided`.
    pub state: String,
}

/// How a task's verdict is, or was, looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskReview {
    /// `due` (its only maker was caught with another result), `open`, `upheld`, `overturned`, `unconfirmed` or `undecided`.
    pub state: String,
    /// The task that runs it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A cancelled task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloseOutcome {
    pub id: String,
    pub state: String,
    /// Paid for work done, in micro-AEV.
    pub fee: String,
    pub refund: String,
}

/// A task's inline result. `GET /v1/tasks/{id}/result`, once it settled or its own bound was not met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskResult {
    pub task: String,
    pub state: String,
    /// What the module returned.
    pub result: Value,
    pub outputs: Vec<Artifact>,
    pub metrics: Vec<MetricValue>,
    pub checks: Vec<CheckResult>,
}

/// The newest log lines and metric values of a task's runs, as the nodes report them; kept in memory only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskLog {
    pub lines: Vec<TaskLogLine>,
    pub metrics: Vec<TaskMetric>,
    /// Lines that are not here: beyond the run's limit, more than a heartbeat carries, or older than what is kept.
    pub lines_dropped: String,
}

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskLogLine {
    /// When the server got it.
    pub time: String,
    pub assignment: String,
    pub level: String,
    pub text: String,
}

/// One value of a metric during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskMetric {
    pub assignment: String,
    pub name: String,
    pub step: String,
    /// In millionths of the metric's unit.
    pub value: String,
}

/// One line of `GET /v1/tasks/{id}/events`. The stream ends after the task has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "update", rename_all = "kebab-case")]
pub enum TaskUpdate {
    /// The task as it is: the first line, and the last one once it has ended.
    Task { task: Box<Task> },
    /// Something was recorded in the log.
    Event {
        position: String,
        time: String,
        /// Such as `assignment.leased`.
        #[serde(rename = "type")]
        kind: String,
        /// The event's data; sealed and revealed results are left out.
        data: Value,
    },
    /// A heartbeat's progress, more often than the log records it.
    Progress {
        assignment: String,
        node: String,
        ppm: u32,
        note: String,
    },
    /// A line that the module logged.
    Log { line: TaskLogLine },
    /// A metric that the module reported.
    Metric { metric: TaskMetric },
}
