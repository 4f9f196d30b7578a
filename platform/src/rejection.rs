//! Why a command was refused. A rejection leaves no event; its code is stable and never used again for
//! something else.

use crate::{
    amount::Amount,
    digest::Digest,
    ids::{AccountId, ContentId, TaskId, WithdrawalId},
};

macro_rules! rejections {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident: $type:ty),* $(,)? })? = $code:literal, $kind:ident, $message:literal;)+) => {
        /// A refused command: a stable code and a sentence that says what to do.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum Rejection {
            $($(#[$doc])* #[error($message)] $name $({ $($field: $type),* })?),+
        }

        impl Rejection {
            /// The stable code.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code),+ }
            }

            /// What sort of refusal it is.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$name { .. } => Kind::$kind),+ }
            }
        }

        /// Every code with its kind and its sentence (fields in braces), for documents and tests.
        pub const CODES: &[(&str, Kind, &str)] = &[$(($code, Kind::$kind, $message)),+];
    };
}

/// The sort of a refusal; decides the HTTP status and whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command itself is wrong: correct it.
    Invalid,
    /// It does not exist, or not for this account.
    NotFound,
    /// It does not fit the present state; another time it may.
    Conflict,
    /// Money is missing.
    Payment,
    /// The caller is not who it must be.
    Forbidden,
}

rejections! {
    AlreadyBootstrapped = "already-bootstrapped", Conflict, "the platform has accounts already: use an admin key";
    NotPermitted { actor: String, giver: String } = "not-permitted", Forbidden, "`{actor}` may not give this command: only {giver} may";
    ScopeNotHeld { scope: &'static str } = "scope-not-held", Forbidden, "no live key of this account has the scope `{scope}`: a key gives at most what the account has";
    NameInvalid { what: &'static str } = "name-invalid", Invalid, "{what} must have 1 to 64 printable characters";
    UnknownAccount { account: AccountId } = "unknown-account", NotFound, "there is no account {account}";
    UnknownKey = "unknown-key", NotFound, "this account has no such key";
    KeyInUse = "key-in-use", Conflict, "a key with this hash exists: make a new secret";
    ScopesMissing = "scopes-missing", Invalid, "name at least one scope";
    AmountNotPositive = "amount-not-positive", Invalid, "the amount must be above zero";
    AmountTooLarge = "amount-too-large", Invalid, "the amount does not fit 64 bits together with what is there: use a smaller one";
    ReferenceUsed { reference: String } = "reference-used", Conflict, "a payment with the reference `{reference}` is recorded already: each external payment is booked once";
    BalanceTooSmall { available: Amount, needed: Amount } = "balance-too-small", Payment, "{needed} micro-AEV are needed, and {available} are available: use less, or deposit the difference";
    TooManyWithdrawals { most: usize } = "too-many-withdrawals", Conflict, "{most} withdrawals of this account are open: wait until some are paid or refused";
    StakeLocked { free: Amount, wanted: Amount } = "stake-locked", Conflict, "{wanted} micro-AEV are asked back, and {free} of the node's stake are free: the rest covers results that have not matured yet";
    NothingToClaim = "nothing-to-claim", Conflict, "no open reward pool has anything for this account that it has not claimed: pools open when an epoch closes, for the points of its end";
    UnknownWithdrawal { withdrawal: WithdrawalId } = "unknown-withdrawal", NotFound, "this account has no open withdrawal {withdrawal}: it was paid or refused, or there never was one";
    PolicyInvalid { detail: String } = "policy-invalid", Invalid, "the policy can't hold: {detail}";
    LimitsInvalid { detail: String } = "limits-invalid", Invalid, "the account's limits can't hold: {detail}";
    TokenExpired = "join-token-expired", Forbidden, "the join token has expired: issue a new one";
    TokenUnknown = "join-token-unknown", Forbidden, "this join token does not exist or was used: issue a new one";
    TokenInUse = "join-token-in-use", Conflict, "a join token with this hash exists: make a new one";
    NodeKeyInUse = "node-key-in-use", Conflict, "a node with this public key is registered: make a new key pair";
    ProfileInvalid { detail: String } = "node-profile-invalid", Invalid, "the node's profile can't hold: {detail}";
    ComputeCheckInvalid { detail: String } = "compute-check-invalid", Invalid, "the check of the node's GPU can't hold: {detail}";
    TooManyComputeChecks { most: u32 } = "too-many-compute-checks", Conflict, "the policy allows {most} checks of a node's GPU on one day, or none at all: check again on the next";
    UnknownNode = "unknown-node", NotFound, "there is no such node";
    NodeGone = "node-gone", Conflict, "this node left the market or was revoked, for good: remove its data folder and join anew with a new token";
    TermsInvalid { detail: String } = "node-terms-invalid", Invalid, "the node's terms can't hold: {detail}";
    TooManyNodeKeys { most: usize } = "too-many-node-keys", Conflict, "this node has changed its key {most} times, and no more can be kept: let it leave, and join anew";
    ReasonInvalid { most: usize } = "reason-invalid", Invalid, "a reason has 1 to {most} printable characters: say why";
    SuspendedAlready = "suspended-already", Conflict, "it is suspended already: release it first to give another reason";
    NotSuspended = "not-suspended", Conflict, "it is not suspended: there is nothing to release";
    SuspendsItself = "suspends-itself", Conflict, "an account can't suspend itself, so that somebody is left who can release: use another administrator's key";
    AccountSuspended { reason: String } = "account-suspended", Forbidden, "this account is suspended ({reason}): what is running goes on, and nothing new is taken; ask the operator to release it";
    ModuleSuspended { digest: Digest, reason: String } = "module-suspended", Conflict, "module {digest} is suspended ({reason}): use another one, or ask the operator to release it";
    ContentSuspended { content: ContentId, reason: String } = "content-suspended", Conflict, "content {content} is suspended ({reason}): use another one, or ask the operator to release it";
    UnregisteredModule { digest: Digest } = "unregistered-module", NotFound, "nobody has registered a module {digest}";
    BlobUnknown { digest: Digest } = "unknown-blob", NotFound, "this account has uploaded no blob {digest}: upload it first";
    BlobSizeMismatch { digest: Digest } = "blob-size-mismatch", Invalid, "blob {digest} has another size than stated";
    ModuleExists { digest: Digest } = "module-exists", Conflict, "this account has registered module {digest} already";
    UnknownModule { digest: Digest } = "unknown-module", NotFound, "this account has no module {digest}: push it first";
    WrongWorld { digest: Digest, world: &'static str } = "wrong-world", Invalid, "module {digest} does not fit the world `{world}`";
    ContentExists { name: String, version: String } = "content-exists", Conflict, "this account has a content `{name}` version `{version}`: choose another version";
    ContentInvalid { detail: String } = "content-invalid", Invalid, "the content can't be registered: {detail}";
    ContentKnown { file: String } = "content-known", Conflict, "file `{file}` was registered before by another account, which earns by it: leave it out, and name the other content in tasks";
    UnknownContent { content: ContentId } = "unknown-content", NotFound, "there is no content {content}";
    DefinitionInvalid { pointer: String, detail: String } = "definition-invalid", Invalid, "`{pointer}` of the task definition: {detail}";
    BudgetTooSmall { budget: Amount, needed: Amount } = "budget-too-small", Invalid, "the budget of {budget} micro-AEV does not cover the worst case of {needed}: raise the budget, or lower price, replicas or attempts";
    ContentsTooDear { most: Amount, needed: Amount } = "contents-too-dear", Conflict, "using its contents costs {needed} micro-AEV by now, and `economics.contents_max` is {most}: ask for a quote, then raise it or use other contents";
    InsufficientBalance { available: Amount, needed: Amount } = "insufficient-balance", Payment, "the task needs an escrow of {needed} micro-AEV, and {available} are available: deposit the difference";
    TooManyTasks { most: u32 } = "too-many-tasks", Conflict, "this account has {most} tasks that have not ended: wait for some, or cancel them";
    UnknownTask { task: TaskId } = "unknown-task", NotFound, "there is no task {task}";
    DependencyFailed { task: TaskId } = "dependency-failed", Conflict, "task {task} ended without a result that this one could use";
    TaskEnded { task: TaskId } = "task-ended", Conflict, "task {task} has ended";
    TaskVerifying { task: TaskId } = "task-verifying", Conflict, "task {task} is being verified and can't be cancelled any more: its verdict is due in moments";
    NothingToDispute { task: TaskId } = "nothing-to-dispute", Conflict, "task {task} has no verdict whose dispute window is open: there is nothing that a dispute could reverse";
    ReviewedAlready { task: TaskId } = "reviewed-already", Conflict, "the verdict on task {task} is being looked at again, or was: that happens once";
    NotComparable { task: TaskId } = "not-comparable", Conflict, "task {task} ran in a profile in which no two runs are alike bit by bit: no other run can show whether its result is right";
    ClassTooSmall { owners: u32 } = "class-too-small", Conflict, "no class of GPU that the task could run on has nodes of {owners} owners beside yours, and results of several classes are not equal bit by bit: name a comparator or a tolerance for the sample, ask for fewer replicas, or name other classes in `/qos/gpu/classes`, or none";
    BondTooSmall { bond: Amount, needed: Amount } = "bond-too-small", Invalid, "the bond of {bond} micro-AEV does not cover fresh replicas, which may cost {needed}: offer as much";
    NoReviewers { task: TaskId, needed: u32, found: usize, stake: Amount } = "no-reviewers", Conflict, "fresh replicas of task {task} need nodes of {needed} owners that had no part in it, with a stake of {stake} micro-AEV each, and {found} such owners have one at work that fits: dispute again when more are online, before the dispute window ends";
    ReviewTask { task: TaskId } = "review-task", Conflict, "task {task} looks at another task's verdict again, and goes its own way";
    InspectionTask { task: TaskId } = "inspection-task", Conflict, "verifiers work on task {task}, and it goes its own way with the task whose result they look at";
    UnknownAssignment = "unknown-assignment", NotFound, "this node has no such assignment";
    LeaseEnded = "lease-ended", Conflict, "the lease of this assignment has ended; drop the work and lease again";
    NotStarted = "assignment-not-started", Conflict, "the assignment was not started";
    Started = "assignment-started", Conflict, "the assignment was started meanwhile";
    RoundClosed = "round-closed", Conflict, "a commitment was made already; it can't be replaced";
    RevealTooEarly = "reveal-too-early", Conflict, "the round is open: reveal once it has closed";
    RevealMismatch = "reveal-mismatch", Invalid, "the report does not fit the commitment made for it";
    ReportInvalid { detail: String } = "report-invalid", Invalid, "the report can't hold: {detail}";
    OutputNotUploaded { name: String } = "output-not-uploaded", Conflict, "the output `{name}` was not uploaded under this assignment: upload it, then reveal again";
    TooManyOutputs { most: usize } = "too-many-outputs", Invalid, "an assignment has at most {most} outputs";
    WrongNodeKey = "wrong-node-key", Forbidden, "the commitment was signed with another key than this node's";
    CheckpointInvalid { detail: String } = "checkpoint-invalid", Invalid, "the checkpoint can't hold: {detail}";
    CheckpointsFull { most: u64 } = "checkpoints-full", Conflict, "the checkpoints of this task may have {most} bytes in all, and no more is kept: go on without, or save smaller ones or fewer";
}

impl Rejection {
    /// A definition's mistake at a JSON pointer.
    pub(crate) fn definition(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::DefinitionInvalid {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}
