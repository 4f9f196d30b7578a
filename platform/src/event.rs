//! Everything that can have happened: one table of labels, versions and fields. `vocabulary` holds the words that they use.

use std::sync::Arc;

use aevir_events::{Event as LogEvent, Timestamp, UnknownEvent, read_data};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    amount::{Amount, Count, Points, Ppm},
    closed::{Closed, ClosedOutput, RevealKey},
    command::{
        Availability, ContentKind, FailureClass, Lineage, LossReason, NodeProfile, Scope, World,
    },
    content::{Access, ContentPrice, Contributor},
    definition::TaskDefinition,
    digest::Digest,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, ContentId, KeyId, NodeId, TaskId, WithdrawalId},
    lift,
    policy::{AccountLimits, Policy},
    report::{Artifact, BlobRef, NodeKey, Report},
    schedule::Draw,
    terms::NodeTerms,
};

pub use vocabulary::*;

mod vocabulary;

macro_rules! events {
    ($($(#[$doc:meta])* $label:literal v $schema:literal $name:ident on $stream:expr => { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
        )+

        /// One domain event.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event { $($(#[$doc])* $name($name)),+ }

        $(impl From<$name> for Event {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        })+

        impl LogEvent for Event {
            fn label(&self) -> &'static str {
                match self { $(Self::$name(_) => $label),+ }
            }
            fn schema(&self) -> u16 {
                match self { $(Self::$name(_) => $schema),+ }
            }
            fn stream(&self) -> String {
                match self { $(Self::$name(e) => { let stream: fn(&$name) -> String = $stream; stream(e) }),+ }
            }
            fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(e) => e.serialize(serializer)),+ }
            }
            fn from_data(label: &str, schema: u16, data: &str) -> Result<Self, UnknownEvent> {
                match label {
                    $($label => read_data::<$name>(&lift::STEPS, label, (schema, $schema), data).map(Self::$name),)+
                    label => Err(UnknownEvent(format!("unknown event type `{label}`"))),
                }
            }
        }

        /// The JSON Schema of each event type's `data`, as (label, version, schema).
        pub fn schemas() -> Vec<(&'static str, u16, schemars::Schema)> {
            vec![$(($label, $schema, schemars::schema_for!($name))),+]
        }
    };
}

events! {
    /// The market's constants from here on.
    "policy.adopted" v 2 PolicyAdopted on |_| "policy".into() => { version: u32, policy: Policy }

    /// Draws made from here on follow from a secret that this commits to.
    "epoch.opened" v 1 EpochOpened on |_| "epoch".into() => {
        /// From 1.
        epoch: u32,
        /// `SHA-256("aevir.epoch/1\n" || secret)`.
        commitment: Digest,
    }
    /// No more draws of the epoch. All points fade, and those that there were at its end can claim its pool, whose posting stands in
    /// the same batch.
    "epoch.closed" v 1 EpochClosed on |_| "epoch".into() => {
        epoch: u32,
        secret: Disclosure,
        /// What part of every account's points is kept, on each track; rounded down to thousandths of a point.
        points_keep_ppm: Ppm,
        /// Absent where there were no fees, or no points.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reward: Option<RewardPool>,
    }

    "account.opened" v 1 AccountOpened on |e| format!("account/{}", e.account) => { account: AccountId, name: String }
    /// An API key; `hash` is the SHA-256 of its secret.
    "account.key_added" v 1 KeyAdded on |e| format!("account/{}", e.account) => {
        account: AccountId,
        key: KeyId,
        label: String,
        hash: Digest,
        scopes: Vec<Scope>,
        /// The node that the key acts for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    }
    "account.key_revoked" v 1 KeyRevoked on |e| format!("account/{}", e.account) => { account: AccountId, key: KeyId }
    "account.join_token_issued" v 1 JoinTokenIssued on |e| format!("account/{}", e.account) => {
        account: AccountId,
        token_hash: Digest,
        #[schemars(with = "String")]
        expires: Timestamp,
    }
    /// An administrator gave the account another share and other quotas.
    "account.limits_set" v 1 LimitsSet on |e| format!("account/{}", e.account) => { account: AccountId, limits: AccountLimits }
    /// Money is set aside to be paid out; the posting stands in the same batch, here and in the next two.
    "account.withdrawal_requested" v 1 WithdrawalRequested on |e| format!("account/{}", e.account) => {
        account: AccountId,
        withdrawal: WithdrawalId,
        amount: Amount,
        /// Where it is to go, as agreed with who runs the platform.
        destination: String,
    }
    "account.withdrawal_paid" v 1 WithdrawalPaid on |e| format!("account/{}", e.account) => { account: AccountId, withdrawal: WithdrawalId }
    /// The account has its money back.
    "account.withdrawal_refused" v 1 WithdrawalRefused on |e| format!("account/{}", e.account) => { account: AccountId, withdrawal: WithdrawalId, reason: String }
    "account.blob_uploaded" v 1 BlobUploaded on |e| format!("account/{}", e.account) => { account: AccountId, blob: BlobRef }

    /// The only event that moves money. The postings sum to zero.
    "ledger.posted" v 2 LedgerPosted on |_| "ledger".into() => {
        reason: PostingReason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// The reference of an external payment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        postings: Vec<Posting>,
    }
    /// The only event that changes IntelliPoints.
    "points.changed" v 1 PointsChanged on |e| format!("account/{}", e.account) => {
        account: AccountId,
        track: Track,
        delta: Points,
        reason: PointsReason,
        task: TaskId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assignment: Option<AssignmentId>,
    }

    /// The account took its parts of the pools of all epochs up to `through`; the postings stand in the same batch.
    "account.rewards_claimed" v 1 RewardsClaimed on |e| format!("account/{}", e.account) => { account: AccountId, through: u32, parts: Vec<RewardPart> }

    "module.registered" v 2 ModuleRegistered on |e| format!("module/{}", e.blob.digest) => {
        owner: AccountId,
        name: String,
        blob: BlobRef,
        world: World,
        imports: Vec<String>,
        /// Memory that a node needs to compile it, in MiB: that of its first registration holds.
        compile_mib: u32,
        /// Storage that its compiled form takes on a node, in MiB: that of its first registration holds. 0 where nobody measured it.
        code_mib: u32,
    }
    "content.registered" v 2 ContentRegistered on |e| format!("content/{}", e.content) => {
        content: ContentId,
        owner: AccountId,
        kind: ContentKind,
        name: String,
        version: String,
        files: Vec<Artifact>,
        licence: String,
        weight: u32,
        /// What each task that uses it pays for that, beside the content share.
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        price: Amount,
        #[serde(default, skip_serializing_if = "Access::is_open")]
        access: Access,
        /// Who earns by it; its owner alone where nobody is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contributors: Vec<Contributor>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lineage: Option<Lineage>,
    }
    /// Its owner changed what it costs and who may use it. Tasks that were created before keep the terms of their time.
    "content.terms_changed" v 1 ContentTermsChanged on |e| format!("content/{}", e.content) => {
        content: ContentId,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        price: Amount,
        #[serde(default, skip_serializing_if = "Access::is_open")]
        access: Access,
    }

    "node.registered" v 3 NodeRegistered on |e| format!("node/{}", e.node) => {
        node: NodeId,
        owner: AccountId,
        /// The join token that this used up.
        token_hash: Digest,
        public_key: NodeKey,
        profile: NodeProfile,
    }
    "node.availability_changed" v 1 AvailabilityChanged on |e| format!("node/{}", e.node) => { node: NodeId, availability: Availability }
    /// It came back as another machine, or with another driver or version.
    "node.profile_changed" v 1 ProfileChanged on |e| format!("node/{}", e.node) => { node: NodeId, profile: NodeProfile }
    "node.terms_changed" v 1 TermsChanged on |e| format!("node/{}", e.node) => { node: NodeId, terms: NodeTerms }
    /// The leader had it compute something, to see whether its GPU is of the class that it claims. Whoever has a GPU can compute the root again.
    "node.compute_checked" v 1 ComputeChecked on |e| format!("node/{}", e.node) => {
        node: NodeId,
        /// The class that the work was for.
        class: u8,
        /// Floating point operations.
        flops: Count,
        /// By the leader's clock: from handing the work out to the root's arrival, or to giving up.
        elapsed_ms: u32,
        outcome: ComputeOutcome,
        seed: Hex<32>,
        /// Of the tree over all values; absent where none came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<Digest>,
    }
    /// It gets nothing new; with `leaving` it is gone once nothing of it is open.
    "node.drained" v 1 NodeDrained on |e| format!("node/{}", e.node) => { node: NodeId, leaving: bool }
    "node.resumed" v 1 NodeResumed on |e| format!("node/{}", e.node) => { node: NodeId }
    /// Gone for good; its API key is revoked in the same batch.
    "node.left" v 1 NodeLeft on |e| format!("node/{}", e.node) => { node: NodeId }
    /// From here on the node signs with `public_key`, and calls with another API key: the one before is revoked, and that one added, in the
    /// same batch.
    "node.key_rotated" v 1 KeyRotated on |e| format!("node/{}", e.node) => {
        node: NodeId,
        public_key: NodeKey,
        /// The SHA-256 of the API key.
        key_hash: Digest,
        /// The key before signs both.
        signature: Hex<64>,
    }
    /// Its API key is revoked and its leases are lost in the same batch.
    "node.revoked" v 1 NodeRevoked on |e| format!("node/{}", e.node) => { node: NodeId, reason: String }

    /// It loses the stake that it had locked for a refused result; the posting stands in the same batch.
    "node.slashed" v 1 NodeSlashed on |e| format!("node/{}", e.node) => {
        node: NodeId,
        task: TaskId,
        assignment: AssignmentId,
        amount: Amount,
        reason: RefusalReason,
        /// Its refused results in a row of time, this one included.
        strikes: u32,
    }

    "account.suspended" v 1 AccountSuspended on |e| format!("account/{}", e.account) => { account: AccountId, reason: String }
    "account.released" v 1 AccountReleased on |e| format!("account/{}", e.account) => { account: AccountId, reason: String }
    "node.suspended" v 1 NodeSuspended on |e| format!("node/{}", e.node) => { node: NodeId, reason: String }
    "node.released" v 1 NodeReleased on |e| format!("node/{}", e.node) => { node: NodeId, reason: String }
    "content.suspended" v 1 ContentSuspended on |e| format!("content/{}", e.content) => { content: ContentId, reason: String }
    "content.released" v 1 ContentReleased on |e| format!("content/{}", e.content) => { content: ContentId, reason: String }
    "module.suspended" v 1 ModuleSuspended on |e| format!("module/{}", e.module) => { module: Digest, reason: String }
    "module.released" v 1 ModuleReleased on |e| format!("module/{}", e.module) => { module: Digest, reason: String }

    /// The requester's definition with the terms that hold for it; the escrow is posted in the same batch.
    "task.created" v 2 TaskCreated on |e| format!("task/{}", e.task) => {
        task: TaskId,
        requester: AccountId,
        definition: Arc<TaskDefinition>,
        definition_digest: Digest,
        seed: Count,
        /// Goes into every draw for the task: the requester's, or a random one.
        nonce: Hex<32>,
        policy_version: u32,
        escrow: Amount,
        /// What the contents that it uses cost, as far as they cost something.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        prices: Vec<ContentPrice>,
        /// It looks at another task's verdict again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        review: Option<ReviewOrigin>,
        /// Verifiers work on it, who look at another task's result before its verdict.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inspection: Option<InspectionOrigin>,
    }
    /// All inputs are known; from here it waits for nodes.
    "task.queued" v 1 TaskQueued on |e| format!("task/{}", e.task) => { task: TaskId, inputs: Vec<Artifact> }
    /// Every replica of the round has committed; nodes now reveal.
    "task.round_closed" v 1 RoundClosed on |e| format!("task/{}", e.task) => {
        task: TaskId,
        round: u32,
        #[schemars(with = "String")]
        reveal_by: Timestamp,
    }
    /// The round brought no quorum: one more replica decides.
    "task.extended" v 1 TaskExtended on |e| format!("task/{}", e.task) => { task: TaskId, round: u32, replicas: u32 }
    /// Of an adaptive sample one result is sealed: whether it stands alone or is repeated.
    "task.trust_decided" v 1 TrustDecided on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, trust: Trust }
    /// Its replicas can't go one after the other any more, or it could be late: from here on they are placed at once.
    "task.hastened" v 1 TaskHastened on |e| format!("task/{}", e.task) => { task: TaskId }
    /// It has waited for long for room that nodes only have once several of their runs have ended: this one gets nothing else until the
    /// task is placed.
    "task.reserved" v 1 TaskReserved on |e| format!("task/{}", e.task) => { task: TaskId, node: NodeId }
    /// Nodes agree on a result, and drawn verifiers look at it before the verdict; or they compare two results that are not equal. They do
    /// so on another task, which is created in the same batch.
    "task.inspection_opened" v 1 InspectionOpened on |e| format!("task/{}", e.task) => {
        task: TaskId,
        /// The task that the verifiers work on.
        inspection: TaskId,
        /// The method that asks for it: its place in the definition's `verification`.
        method: u32,
        /// Of the results that agree, the one that is looked at; or one of two that are compared.
        assignment: AssignmentId,
        /// The other one of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        against: Option<AssignmentId>,
        /// What of the task's escrow is for it: the other task's escrow.
        escrow: Amount,
    }
    /// What the verifiers say. The verdict follows with a tick, once all of them have ended.
    "task.inspected" v 1 TaskInspected on |e| format!("task/{}", e.task) => { task: TaskId, inspection: TaskId, outcome: InspectionOutcome }
    /// The verdict over all revealed replicas.
    "task.verified" v 2 TaskVerified on |e| format!("task/{}", e.task) => {
        task: TaskId,
        verdict: Verdict,
        accepted: Vec<AssignmentId>,
        refused: Vec<Refusal>,
        checks: Vec<CheckResult>,
        /// The agreed result: outputs and inline result of the first accepted replica.
        outputs: Vec<Artifact>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<BlobRef>,
        /// What the task's privacy terms make public of the inline result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        published: Option<Value>,
        /// Verified later than `max_latency` after it was queued.
        late: bool,
    }
    /// The money that the verdict moved; the postings stand in the same batch.
    "task.settled" v 2 TaskSettled on |e| format!("task/{}", e.task) => {
        task: TaskId,
        /// All that the requester paid.
        fee: Amount,
        refund: Amount,
        /// Of the refund, what waits until the result matures: it stood alone, and may be repeated by then.
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        held: Amount,
        shares: Vec<Share>,
        /// Settled in a private market, where owner filters are off.
        private_market: bool,
        /// The end of the dispute window, when shares and points mature. Absent where nothing does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        matures_at: Option<Timestamp>,
    }
    /// The end of the dispute window: shares can be withdrawn.
    "task.matured" v 1 TaskMatured on |e| format!("task/{}", e.task) => { task: TaskId }
    /// Its verdict is looked at again: another task, which is created in the same batch, runs it. Until that ends nothing of it matures.
    "task.review_opened" v 1 ReviewOpened on |e| format!("task/{}", e.task) => {
        task: TaskId,
        /// The task that runs it again.
        review: TaskId,
        cause: ReviewCause,
        /// What is put up for it: the other task's escrow.
        bond: Amount,
    }
    /// What looking at its verdict again has shown; postings, slashes and lost points stand in the same batch.
    "task.reviewed" v 1 TaskReviewed on |e| format!("task/{}", e.task) => {
        task: TaskId,
        review: TaskId,
        outcome: ReviewOutcome,
        /// Results that were accepted before, and are refused now.
        refused: Vec<AssignmentId>,
        /// Runs whose nodes answer for that: those of the refused results, or the one whose checkpoint they went on from.
        blamed: Vec<Blamed>,
        /// Runs that may be the reason: it counts against their nodes' records, and costs them nothing else.
        doubted: Vec<AssignmentId>,
    }
    /// The end without a verdict.
    "task.closed" v 1 TaskClosed on |e| format!("task/{}", e.task) => { task: TaskId, reason: CloseReason, detail: String, fee: Amount, refund: Amount }

    "assignment.leased" v 2 AssignmentLeased on |e| format!("task/{}", e.task) => {
        task: TaskId,
        assignment: AssignmentId,
        node: NodeId,
        round: u32,
        /// The checkpoint to resume from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<BlobRef>,
        /// The node that made the checkpoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<NodeId>,
        /// The run of the same task that this one duplicates, because the task may be late.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubles: Option<AssignmentId>,
        /// What the node earns if its result is accepted in time, where the task pays what nodes ask for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price: Option<Amount>,
        /// How the node was drawn. Absent where the log of old has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        draw: Option<Draw>,
    }
    "assignment.started" v 1 AssignmentStarted on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId }
    "assignment.progressed" v 1 AssignmentProgressed on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, ppm: Ppm, note: String }
    "assignment.checkpointed" v 1 AssignmentCheckpointed on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, checkpoint: BlobRef }
    /// The node uploaded these bytes under the assignment: what shows that it has them, and does not only know their name.
    "assignment.output_uploaded" v 1 OutputUploaded on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, blob: BlobRef }
    "assignment.committed" v 2 AssignmentCommitted on |e| format!("task/{}", e.task) => {
        task: TaskId,
        assignment: AssignmentId,
        node: NodeId,
        commitment: Digest,
        signature: Hex<64>,
        /// Of the time since the lease, in ms, for how long there was no leader to take it, as the leader tells; that is nobody's lateness.
        #[serde(default, skip_serializing_if = "Count::is_zero")]
        absent_ms: Count,
    }
    /// The node brought an output of a sample's replica under the assignment; which one can't be told before the verdict.
    "assignment.output_closed" v 1 OutputClosed on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, output: ClosedOutput }
    /// The node revealed its result of a sample to the platform, which keeps it closed until the verdict. A large one takes several events
    /// of one batch, which continue each other.
    "assignment.shown" v 1 AssignmentShown on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, closed: Closed }
    /// A result that everybody can read.
    "assignment.revealed" v 2 AssignmentRevealed on |e| format!("task/{}", e.report.task) => {
        report: Arc<Report>,
        checks: Vec<CheckResult>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        published: Option<Value>,
        /// Opens what the log has of the assignment that was closed. Absent where nothing was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<RevealKey>,
    }
    "assignment.failed" v 2 AssignmentFailed on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, class: FailureClass, message: String }
    "assignment.lost" v 2 AssignmentLost on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, reason: LossReason }
    /// The node is about to stop, and gave it back in an orderly way. Only where it is `counted` does that spend an attempt and
    /// count as a fault of the node.
    "assignment.returned" v 1 AssignmentReturned on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId, counted: bool }
    /// Called off: the task ended without it.
    "assignment.withdrawn" v 1 AssignmentWithdrawn on |e| format!("task/{}", e.task) => { task: TaskId, assignment: AssignmentId }
}

impl TaskVerified {
    /// Some result is refused for another one. Where none is accepted, third parties agree on that.
    pub fn has_mismatch(&self) -> bool {
        let differs = |r: &Refusal| r.reason == RefusalReason::Mismatch;
        self.refused.iter().any(differs)
    }
}
