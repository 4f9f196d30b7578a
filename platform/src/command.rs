//! What may be asked of the machine. Callers are authenticated before; ownership is checked here.

use aevir_events::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    amount::{Amount, Count, Ppm},
    content::Access,
    definition::TaskDefinition,
    digest::Digest,
    ids::{AccountId, AssignmentId, ContentId, KeyId, NodeId, TaskId, WithdrawalId},
    policy::{AccountLimits, Policy},
    report::{BlobRef, Report, SignedCommitment},
    rotation::SignedRotation,
    terms::NodeTerms,
};

pub use payload::*;

mod payload;

/// Every command, an imperative each.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    AdoptPolicy(Policy),
    OpenAccount(OpenAccount),
    AddKey(AddKey),
    RevokeKey {
        account: AccountId,
        key: KeyId,
    },
    IssueJoinToken {
        account: AccountId,
        token_hash: Digest,
        expires: Timestamp,
    },
    Deposit {
        account: AccountId,
        amount: Amount,
        reference: String,
    },
    /// Sets money aside that is to be paid out.
    RequestWithdrawal {
        account: AccountId,
        amount: Amount,
        /// Where it is to go, as agreed with who runs the platform.
        destination: String,
    },
    /// Books that it was paid out.
    PayWithdrawal {
        account: AccountId,
        withdrawal: WithdrawalId,
        reference: String,
    },
    /// Gives it back to the account.
    RefuseWithdrawal {
        account: AccountId,
        withdrawal: WithdrawalId,
        reason: String,
    },
    /// Takes an account's parts of all pools that are open.
    ClaimRewards {
        account: AccountId,
    },
    /// Gives an account another share and other quotas than the policy's.
    SetLimits {
        account: AccountId,
        limits: AccountLimits,
    },
    RecordUpload {
        account: AccountId,
        blob: BlobRef,
    },
    RegisterModule(RegisterModule),
    RegisterContent(RegisterContent),
    /// Its owner asks another price for it, or lets others use it; tasks that are there keep their terms.
    ChangeContentTerms {
        owner: AccountId,
        content: ContentId,
        price: Amount,
        access: Access,
    },
    RegisterNode(RegisterNode),
    SetAvailability {
        node: NodeId,
        availability: Availability,
    },
    /// The node came back as another machine, or with another driver or version.
    ChangeProfile {
        node: NodeId,
        profile: Box<NodeProfile>,
    },
    ChangeTerms {
        node: NodeId,
        terms: Box<NodeTerms>,
    },
    /// The leader asked the node to show how fast its GPU is.
    CheckCompute(ComputeCheck),
    /// The node finishes what it has, and gets nothing new.
    DrainNode {
        node: NodeId,
    },
    /// It takes work again.
    ResumeNode {
        node: NodeId,
    },
    /// It drains, and is gone for good once nothing of it is open any more.
    LeaveMarket {
        node: NodeId,
    },
    /// The node's owner puts money up for its results.
    Stake {
        account: AccountId,
        node: NodeId,
        amount: Amount,
    },
    /// The node's owner takes back what covers no result.
    Unstake {
        account: AccountId,
        node: NodeId,
        amount: Amount,
    },
    RotateKey {
        node: NodeId,
        rotation: SignedRotation,
    },
    /// Its leases are lost at once, and its keys are dead.
    RevokeNode {
        node: NodeId,
        reason: String,
    },
    Suspend {
        subject: Subject,
        reason: String,
    },
    Release {
        subject: Subject,
        reason: String,
    },
    SubmitTask {
        requester: AccountId,
        definition: Box<TaskDefinition>,
    },
    CancelTask {
        requester: AccountId,
        task: TaskId,
    },
    /// Has a verdict looked at again by fresh replicas, for which the account puts a bond up.
    Dispute {
        account: AccountId,
        task: TaskId,
        reason: String,
        /// The most that it puts up; as much is taken as the replicas may cost.
        bond: Amount,
    },
    /// Places queued work on free nodes.
    Plan,
    /// Decides what is due by time alone.
    Tick,
    Start {
        node: NodeId,
        assignment: AssignmentId,
    },
    ReportProgress {
        node: NodeId,
        assignment: AssignmentId,
        ppm: Ppm,
        note: String,
    },
    SaveCheckpoint {
        node: NodeId,
        assignment: AssignmentId,
        checkpoint: BlobRef,
    },
    /// The node brought these bytes; a report may name only outputs that were brought.
    RecordOutput {
        node: NodeId,
        assignment: AssignmentId,
        blob: BlobRef,
    },
    Commit {
        node: NodeId,
        assignment: AssignmentId,
        commitment: SignedCommitment,
        /// Of the time since the lease, in ms, for how long there was no leader to take it.
        absent_ms: Count,
    },
    Reveal {
        node: NodeId,
        report: Box<Report>,
        result: Value,
    },
    Fail {
        node: NodeId,
        assignment: AssignmentId,
        class: FailureClass,
        message: String,
    },
    /// The node is about to stop, and gives back a run that it won't end.
    GiveBack {
        node: NodeId,
        assignment: AssignmentId,
    },
    /// The leader saw no life from the node in time.
    LoseLease {
        assignment: AssignmentId,
        reason: LossReason,
    },
}
