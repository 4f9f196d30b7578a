//! What travels between Aevir's server and its clients: request and response types, and a thin HTTP client.
//!
//! Conventions, the same on every route:
//! - Identifiers are ULIDs, digests are 64 lower-case hex digits, times are RFC 3339 in UTC with milliseconds.
//! - Every 64-bit number (money, sizes, fuel, positions, metric values) is a decimal string, because JSON's
//!   numbers are doubles. Numbers that fit 32 bits are JSON numbers.
//! - Money is in micro-AEV (1 AEV = 1,000,000 micro-AEV), metric values in millionths of their unit.
//! - Requests with unknown fields are refused; replies may gain fields.
//! - Every error is a [`Problem`] with a stable `code`.
//!
//! Must not know: the engine, SQL, how a task is run.

mod accounts;
mod batch;
mod challenge;
mod client;
mod contents;
mod heartbeat;
mod ledger;
mod log;
mod node;
mod node_life;
mod plan;
mod points;
mod policy;
mod problem;
mod projections;
mod report;
mod secret;
mod server;
mod tasks;

pub use accounts::{
    Account, AccountPage, AddKey, AddedKey, Deposit, Deposited, IssueJoinToken, JoinToken, Key,
    KeyList, OpenAccount, OpenedAccount, PayWithdrawal, RefuseWithdrawal, RequestWithdrawal,
    Withdrawal, WithdrawalPage,
};
pub use batch::{
    BATCH_ITEMS_MAX, Batch, BatchAnswer, BatchAnswers, BatchItem, JSON_VALUES_MAX, NodeCall,
};
pub use challenge::{
    CHALLENGE_INDICES, CHECKED_CLASS_MAX, Challenge, ChallengeIndices, ChallengeOpening,
    ChallengeOpenings, ChallengeRoot, Tree, VALUES_PER_DISPATCH, Work,
};
pub use client::{
    AssignmentFilter, Client, ClientError, EntryFilter, KeptKeys, NdjsonStream, NodeFilter,
    StatementFilter, TaskFilter, TaskUpdates,
};
pub use contents::{
    Access, Artifact, BlobRef, Content, ContentPage, ContentPrice, ContentTerms, Contributor,
    Lineage, Module, ModuleList, RegisterContent,
};
pub use heartbeat::{Heartbeat, Heartbeats, LogLine};
pub use ledger::{
    Ledger, LedgerEntry, LedgerEntryPage, Statement, StatementBalance, StatementEntry,
};
pub use log::{
    ConsistencyProof, InclusionProof, LogCheckpoint, LogHead, LogKey, Publishing, TaskReceipt,
};
pub use node::{
    Action, Ask, Checkpointed, Commit, Directive, Directives, FAST_CLASS_MARK, Fail,
    GpuConfinement, GpuNeed, GpuProfile, Lease, Leases, Limits, Node, NodeConfinement, NodeList,
    NodeProfile, NodeStanding, Pay, RUNTIME_FAST, RUNTIME_REPRODUCIBLE, RegisterNode,
    RegisteredNode, Reveal, SEALED_SHOWN_MAX, StopReason, Wall,
};
pub use node_life::{
    AllowDeny, ChangeProfile, ChangeStake, NodeCaps, NodeCompute, NodeRecord, NodeSpeed, NodeStake,
    NodeTally, NodeTerms, RevokeNode, RotateKey, Subject, Suspend, Suspended, Suspension,
    SuspensionList, Window,
};
pub use plan::{Quote, Remedy, Waiting, Why};
pub use points::{
    AccountPoints, Epoch, EpochPage, Points, PointsChange, PointsChangePage, PointsExplanation,
    PointsTable, RewardPart, Rewards, TrackPoints,
};
pub use policy::{
    AccountLimits, AdaptivePolicy, AdoptedPolicy, ComputePolicy, ContentsPolicy, PointsPolicy,
    Policy, ReturnPolicy, RewardsPolicy, SchedulingPolicy, ScorePolicy, SettlementPolicy,
    StakePolicy, VerificationPolicy,
};
pub use problem::{PROBLEM_JSON, Problem};
pub use projections::{Projection, ProjectionList, Rebuild};
pub use report::{MetricValue, Report, Usage, canonical, commit_message, digest, rotation_message};
pub use secret::{KEY_PREFIX, Secret, TOKEN_PREFIX};
pub use server::{Health, Readiness, Version};
pub use tasks::{
    Assignment, AssignmentPage, AssignmentSummary, CheckResult, CloseOutcome, DisputeTask,
    Disputed, Progress, Refusal, Settlement, Share, SubmittedTask, Task, TaskInspection, TaskLog,
    TaskLogLine, TaskMetric, TaskPage, TaskResult, TaskReview, TaskSummary, TaskUpdate, Verdict,
};

/// The version in the path of every route.
pub const API_VERSION: &str = "v1";
/// One JSON document per line.
pub const NDJSON: &str = "application/x-ndjson";
/// Repeating a request with the same key answers the original outcome.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// On the answer to a command: how many entries the log has with the command's in it. On a list: how many it shows.
/// A list asked for with `min_position` shows at least so many.
pub const LOG_POSITION: &str = "x-log-position";
/// Set to `true` on the answer to a repeated request.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
