//! The words that events are told in: reasons, verdicts, shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{Amount, Count},
    ids::{AccountId, AssignmentId, ContentId, NodeId, TaskId},
    ledger::LedgerAccount,
    schedule::{Coin, EpochSecret},
};

/// One line of a double entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    pub account: LedgerAccount,
    pub amount: Amount,
}

/// What a check of a node's GPU came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeOutcome {
    /// All values that were opened are right.
    Shown,
    /// One is not, or does not stand under the root.
    Wrong,
    /// No root came in time, or it was not opened.
    Silent,
}

/// What became of an epoch's secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Disclosure {
    /// Every draw of the epoch can be recomputed with it.
    Revealed(EpochSecret),
    /// The leader that closed the epoch does not know it: its draws can't be recomputed.
    Lost,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostingReason {
    Deposit,
    Escrow,
    /// Fees to pending shares, and the rest back to the requester.
    Settlement,
    /// Pending shares become available.
    Maturity,
    /// A task closed without a verdict: fees for work done, the rest back.
    Closure,
    /// What an account wants to take out is set aside.
    Withdrawal,
    /// It was paid out.
    Payout,
    /// It was not, and is available again.
    WithdrawalRefused,
    /// A node's owner puts money up for its results.
    Stake,
    /// It comes back: the owner took it, or the node left.
    Unstake,
    /// A refused result cost it.
    Slash,
    /// An epoch's part of its platform fees, for whoever has points at its end.
    Pool,
    /// An account's part of a pool.
    Reward,
    /// What nobody claimed of a pool is the treasury's again.
    PoolExpired,
    /// A verdict was overturned: what was pending goes back.
    Reversal,
}

/// What an epoch's points can claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardPool {
    pub amount: Amount,
    /// All points at the epoch's end, over all accounts and tracks, in thousandths of a point.
    pub points: Count,
}

/// What an account claims of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardPart {
    pub epoch: u32,
    /// The account's points at the epoch's end, over all tracks, in thousandths of a point.
    pub points: Count,
    pub amount: Amount,
}

/// What IntelliPoints are earned for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    Compute,
    Content,
    Verification,
}

/// Why IntelliPoints changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PointsReason {
    ResultAccepted,
    ContentUsed,
    ResultRefused,
    LeaseLost,
}

/// Whether the one result that an adaptive sample has is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trust {
    /// Its node is trusted, and a draw decided.
    Drawn {
        coin: Coin,
        /// All replicas of the first round run. Otherwise the result stands alone.
        repeated: bool,
    },
    /// It is repeated whatever a draw would say.
    Denied { reason: Untrusted },
}

/// Why a result is always repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Untrusted {
    /// Its node had too little stake free to pledge for it, or it earns nothing, so that it is no vote of those that must have stake.
    Unstaked,
    /// A result of its node was refused not long ago.
    Struck,
    /// Its node's record does not show enough.
    Unproven,
    /// Too few owners have its class of GPU: nobody could contradict it later.
    SmallClass,
    /// The task's requester chose by labels or speed who may run it: what such nodes say of each other blames nobody.
    Narrowed,
    /// The leader does not know the epoch's secret, so that nothing can be drawn.
    NoSecret,
}

/// What became of a verified task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A quorum agrees and every check passes.
    Passed,
    /// A quorum agrees, but the requester's check fails: the compute is paid.
    Unmet,
    /// No quorum among all replicas.
    Inconclusive,
}

/// A replica that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub assignment: AssignmentId,
    pub reason: RefusalReason,
}

/// Why a replica was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// The quorum agrees on another result.
    Mismatch,
    /// Not near enough to the result that a comparison found a quorum for. It shows nobody to be wrong.
    Apart,
    /// Committed, but did not reveal in time.
    NotRevealed,
}

impl RefusalReason {
    /// Whether the refused result's node is to blame, where a verdict that differs `blames` those who differ.
    pub fn is_blamed(self, blames: bool) -> bool {
        match self {
            Self::Mismatch => blames,
            Self::Apart => false,
            Self::NotRevealed => true,
        }
    }
}

/// The outcome of one contract check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// `schema`, or `metric <name>`.
    pub check: String,
    pub passed: bool,
    pub detail: String,
}

/// One party's part of a fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub role: ShareRole,
    /// Absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
    pub amount: Amount,
}

/// What a share is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShareRole {
    Compute,
    Content,
    /// For a content that one of the task's contents was made of.
    Royalty,
    Platform,
    /// For work that ended without a verdict for or against it.
    Attempt,
}

/// What verifiers say of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InspectionOutcome {
    /// It passes.
    Passed,
    /// It does not: the check refuses it, or fresh results agree on another one.
    Failed,
    /// They do not agree, or there were none.
    Undecided,
}

/// Whose result a task of verifiers looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectionOrigin {
    pub task: TaskId,
    /// The method that asks for it: its place in the definition's `verification`.
    pub method: u32,
    /// The two results that are compared, where it is a comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compares: Option<Compares>,
}

/// Two results of a sample that drawn verifiers compare. What they are the log has closed: the leaders tell it to those verifiers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compares {
    pub one: AssignmentId,
    pub two: AssignmentId,
    /// The most that both together can have, in bytes: how much they have is closed.
    pub bytes_max: Count,
}

/// Why a verdict is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReviewCause {
    /// Somebody doubts it, and puts a bond up.
    Dispute { account: AccountId, reason: String },
    /// It rests on one word of this node, of which another result was refused. It runs at the node's cost.
    Caught { node: NodeId },
    /// It rests on one word of this node, of which no later result was repeated by a draw and stood. The node advances what it costs, and
    /// the requester pays for it out of what waited for that.
    Unvouched { node: NodeId },
}

/// Which verdict a task looks at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewOrigin {
    pub task: TaskId,
    pub payer: Payer,
    /// The reviewed result is one of those that are compared.
    pub counts: bool,
}

/// Who pays for a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Payer {
    /// What an account has available.
    Account(AccountId),
    /// What a node locked for the reviewed result.
    Stake(NodeId),
}

/// What a review has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewOutcome {
    /// Fresh results agree with the verdict's.
    Upheld,
    /// They agree on another one.
    Overturned,
    /// There were none, they do not agree, or one of them agrees with the verdict's: it stands.
    Undecided,
    /// They agree on nothing, and none of them on what the verdict says; or it rested on one word, which they do not share: nobody is known to
    /// be wrong, and nothing is paid.
    Unconfirmed,
}

/// A run whose node answers for a result that was accepted and is refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blamed {
    pub assignment: AssignmentId,
    /// What its node loses of what it locked for it.
    pub slashed: Amount,
}

/// Why a task closed without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    Cancelled,
    Expired,
    /// All attempts are spent.
    AttemptsSpent,
    /// A task that it depends on did not settle.
    DependencyFailed,
}
