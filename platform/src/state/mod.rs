//! The state that the log folds into. Everything here is derived; nothing here is the truth.
//!
//! Maps are ordered, so that every iteration and the state's hash are the same on every machine. Fields marked
//! `serde(skip)` are indexes over the others and stay out of the hash.

mod assignment;
mod assignments;
mod compute;
mod epoch;
mod index;
mod inspection;
mod lateness;
mod market;
mod node;
mod phase;
mod points;
mod record;
mod review;
mod rewards;
mod sample;
mod speed;
mod stake;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

pub use assignment::{Assignment, Commitment, Revealed, Shown, Stage};
pub use assignments::Assignments;
pub use compute::{CHECKED_CLASS_MAX, ComputeRecord, checked_flops};
pub use epoch::{Epochs, OpenEpoch, Requester, Sweep};
pub(crate) use index::{Index, awaited, is_unblocked};
pub use inspection::{Inspection, InspectionOf};
pub(crate) use lateness::PREPARATION_MS;
pub use lateness::{could_be_in_time, left_all_time, moved_mib, needed_ms, took_too_long};
pub use market::{
    Account, Blob, Content, JoinToken, Key, Module, NOT_COMPILED_MS, Suspension, Withdrawal,
};
pub use node::{Node, Returns, Room, Standing};
pub use phase::Phase;
pub use points::PointsBalance;
pub use record::{
    Backoff, FAILING_OWNERS_MIN, Fading, HardwareClass, NotAClass, Outcome, Record, Tally,
};
pub use review::{Expected, Review, ReviewOf};
pub use rewards::{Pool, Rewards, Standing as PointsStanding};
pub use sample::Sample;
pub use speed::SpeedRecord;
pub use stake::Pledges;
pub use task::{Checkpoint, Pace, Settlement, TASK_CHECKPOINT_BYTES_MAX, Task, VerdictRecord};

use crate::{
    amount::Amount,
    command::{COMPILE_MIB_UNMEASURED, Scope},
    digest::Digest,
    event::{TaskCreated, Track},
    ids::{AccountId, AssignmentId, ContentId, KeyId, NodeId, TaskId, WithdrawalId},
    ledger::{Ledger, LedgerAccount},
    policy::{AccountLimits, Market, Policy, Reveals, SchedulingPolicy},
};

/// The whole platform at a position of the log.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Every version ever adopted, from 1; a task refers to the one it was created under.
    pub policies: BTreeMap<u32, Arc<Policy>>,
    pub accounts: BTreeMap<AccountId, Account>,
    pub keys: BTreeMap<KeyId, Key>,
    /// Unused join tokens by the hash of their secret.
    pub join_tokens: BTreeMap<Digest, JoinToken>,
    /// References of external payments, each booked once.
    pub references: BTreeSet<String>,
    /// What accounts want to take out, as long as it is open; nothing for an account without any.
    pub withdrawals: BTreeMap<AccountId, BTreeMap<WithdrawalId, Withdrawal>>,
    pub blobs: BTreeMap<Digest, Blob>,
    pub modules: BTreeMap<Digest, Module>,
    pub contents: BTreeMap<ContentId, Content>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub ledger: Ledger,
    pub points: BTreeMap<AccountId, PointsBalance>,
    pub rewards: Rewards,
    pub epochs: Epochs,
    /// What accounts have used as requesters, from their first task on.
    pub requesters: BTreeMap<AccountId, Requester>,
    /// The most that a requester had used by ended runs when it was served: where newcomers begin.
    pub virtual_time: u64,

    #[serde(skip)]
    pub(crate) index: Index,
}

/// Contents with the same file that are looked at: one account can register it any number of times.
const REGISTRANTS_MAX: usize = 1_024;

impl State {
    /// Makes the indexes anew, which the state's JSON leaves out.
    pub(crate) fn reindex(&mut self) {
        self.index = Index::of(self);
    }

    /// The policy in force, with its version; none before the platform was set up.
    pub fn policy(&self) -> Option<(u32, &Arc<Policy>)> {
        self.policies
            .last_key_value()
            .map(|(version, policy)| (*version, policy))
    }

    /// The policy that a task was created under.
    pub fn policy_of(&self, task: &Task) -> Arc<Policy> {
        self.policies
            .get(&task.policy_version)
            .cloned()
            .unwrap_or_default()
    }

    /// A task as it begins, with what its module was measured to take of a node.
    pub(crate) fn task_of_its_module(&self, created: &TaskCreated, at: Timestamp) -> Task {
        let mut task = Task::new(created, at);
        task.compile_mib = self.compile_mib(&task);
        task.module_mib = self.module_mib(&task);
        task
    }

    /// Memory that compiling a task's module takes, in MiB.
    fn compile_mib(&self, task: &Task) -> u32 {
        let module = self.modules.get(&task.definition.module);
        module.map_or(COMPILE_MIB_UNMEASURED, |module| module.compile_mib)
    }

    /// Storage that a task's module and its compiled form take on a node, in MiB; 0 where nobody measured them.
    fn module_mib(&self, task: &Task) -> u32 {
        let module = self.modules.get(&task.definition.module);
        let measured = module.filter(|module| module.code_mib > 0);
        measured.map_or(0, |module| {
            let mib = module.size.0.div_ceil(1024 * 1024);
            let mib = u32::try_from(mib).unwrap_or(u32::MAX);
            mib.saturating_add(module.code_mib)
        })
    }

    /// The constants of placement in force; the defaults before the platform was set up.
    pub fn scheduling(&self) -> &SchedulingPolicy {
        scheduling_of(&self.policies)
    }

    /// When the open epoch's time is over; `None` where none is open.
    pub fn epoch_due(&self) -> Option<Timestamp> {
        let open = self.epochs.open.as_ref()?;
        Some(open.opened_at.plus_ms(self.scheduling().epoch_ms.into()))
    }

    /// An account's share and quotas.
    pub fn limits_of(&self, account: AccountId) -> AccountLimits {
        let own = self.requesters.get(&account).and_then(|r| r.limits);
        own.unwrap_or(self.scheduling().account)
    }

    /// By which requesters take turns, the least first.
    pub(crate) fn turn_of(&self, requester: AccountId) -> u64 {
        self.requesters.get(&requester).map_or(0, Requester::turn)
    }

    /// Replicas of a requester's tasks that hold a slot.
    pub fn running(&self, requester: AccountId) -> u32 {
        self.requesters.get(&requester).map_or(0, |r| r.running)
    }

    /// Whether owner filters are off for a task: by the policy that it was created under, as everything of it.
    pub fn is_private(&self, task: &Task) -> bool {
        let policy = self.policies.get(&task.policy_version);
        policy.is_some_and(|policy| policy.market == Market::Private)
    }

    /// Whether what its nodes bring can't be read in the log before the verdict: of a sample, as others could copy it.
    pub fn is_closed(&self, task: &Task) -> bool {
        let policy = self.policies.get(&task.policy_version);
        let reveals = policy.map(|policy| policy.verification.reveals);
        task.is_sampled() && reveals == Some(Reveals::Closed)
    }

    /// The key with this hash, unless it was revoked.
    pub fn live_key(&self, hash: Digest) -> Option<(KeyId, &Key)> {
        let id = self.index.key_by_hash.get(&hash)?;
        let key = self.keys.get(id)?;
        (!key.revoked).then_some((*id, key))
    }

    /// Whether a live key of the account has the scope.
    pub fn has_scope(&self, account: AccountId, scope: Scope) -> bool {
        self.index.live_scopes.contains_key(&(account, scope))
    }

    /// Why an account may do nothing new.
    pub fn suspension(&self, account: AccountId) -> Option<&Suspension> {
        self.accounts.get(&account)?.suspended.as_ref()
    }

    /// Whether a node takes work and has a slot for it, its owner considered.
    pub fn takes_work(&self, node: &Node) -> bool {
        node.is_free() && self.suspension(node.owner).is_none()
    }

    /// The live API key of a node.
    pub fn key_of_node(&self, node: NodeId) -> Option<KeyId> {
        self.index.api_keys.get(&node).copied()
    }

    /// The task that an assignment belongs to.
    pub fn task_of(&self, assignment: AssignmentId) -> Option<&Task> {
        self.tasks.get(self.index.task_of.get(&assignment)?)
    }

    /// A task and one of its assignments.
    pub fn assignment(&self, id: AssignmentId) -> Option<(&Task, &Assignment)> {
        let task = self.task_of(id)?;
        Some((task, task.assignments.get(&id)?))
    }

    /// A requester's tasks, oldest first.
    pub fn tasks_of(&self, requester: AccountId) -> impl DoubleEndedIterator<Item = &Task> {
        let ids = self.index.tasks_by_requester.get(&requester);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.tasks.get(id))
    }

    /// Tasks that this one rests on, by their outputs or by the models that they made, and whose verdicts were overturned: its own run may be
    /// right, and its inputs are not. As far as its ancestry is looked through.
    pub fn tainted_by(&self, task: &Task) -> impl Iterator<Item = TaskId> + use<'_> {
        /// Tasks that are looked through: ancestry can be long.
        const ANCESTORS_MAX: usize = 256;
        let mut seen: BTreeSet<TaskId> = BTreeSet::new();
        let mut left = self.makers(task);
        while let Some(id) = left.pop() {
            if seen.len() < ANCESTORS_MAX && seen.insert(id) {
                let ancestor = self.tasks.get(&id).into_iter();
                left.extend(ancestor.flat_map(|t| self.makers(t)));
            }
        }
        seen.into_iter().filter(|id| {
            let ancestor = self.tasks.get(id);
            ancestor.is_some_and(|t| t.phase == Phase::Overturned)
        })
    }

    /// The tasks that made what a task uses: those that it depends on, and those that trained the models which it names.
    fn makers(&self, task: &Task) -> Vec<TaskId> {
        let contents = task.definition.contents();
        let contents = contents.iter().filter_map(|id| self.contents.get(id));
        let trained = contents.filter_map(|content| Some(content.lineage.as_ref()?.task));
        let depends_on = task.definition.depends_on.iter().map(|d| d.task);
        depends_on.chain(trained).collect()
    }

    /// An account's nodes, oldest first.
    pub fn nodes_of(&self, owner: AccountId) -> impl DoubleEndedIterator<Item = &Node> {
        let ids = self.index.nodes_by_owner.get(&owner);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.nodes.get(id))
    }

    /// An account's content by name and version.
    pub fn content_named(&self, owner: AccountId, name: &str, version: &str) -> Option<ContentId> {
        self.index
            .content_names
            .get(&(owner, name.to_owned(), version.to_owned()))
            .copied()
    }

    /// The contents that have a file of these bytes and aren't suspended, the first to be registered first, and of very many the first.
    pub fn registrants(&self, digest: Digest) -> impl Iterator<Item = (ContentId, &Content)> {
        let known = self.index.content_files.get(&digest).into_iter().flatten();
        let contents = known.filter_map(|(_, id)| Some((*id, self.contents.get(id)?)));
        let standing = contents.filter(|(_, content)| content.suspended.is_none());
        standing.take(REGISTRANTS_MAX)
    }

    /// A content, where it is there for the account.
    pub fn content_for(&self, account: AccountId, id: ContentId) -> Option<&Content> {
        self.contents.get(&id).filter(|c| c.is_for(account))
    }

    /// An account's points on a track.
    pub fn points(&self, account: AccountId, track: Track) -> i64 {
        self.points.get(&account).map_or(0, |p| p.on(track).0)
    }

    /// What a node's owner put up for its results.
    pub fn stake(&self, node: NodeId) -> Amount {
        self.ledger.balance(LedgerAccount::Stake(node))
    }

    /// The part of a node's stake that covers no open result.
    pub fn free_stake(&self, node: NodeId) -> Amount {
        let locked = self.nodes.get(&node).map_or(0, |n| n.pledges.locked.0);
        Amount(self.stake(node).0 - locked)
    }

    /// Whether anything waits to be placed while a node is free.
    pub fn has_placeable(&self) -> bool {
        !self.index.queues.is_empty() && self.index.fleet.has_free()
    }

    /// Whether a run is in danger of making its task late, may get a duplicate, and a node is free.
    pub fn has_tail(&self, now: Timestamp) -> bool {
        self.index.fleet.has_free() && self.index.tails.due(now).next().is_some()
    }

    /// When the next tick is due: at once (`Timestamp::default`) when something is due already.
    pub fn next_due(&self) -> Option<Timestamp> {
        let index = &self.index;
        let at_once = [
            index.unblocked.is_empty(),
            index.departing.is_empty(),
            index.recalls.is_empty(),
            index.inspected.is_empty(),
        ];
        if at_once.contains(&false) {
            return Some(Timestamp::default());
        }
        if self.policy().is_some() && self.epochs.open.is_none() {
            return Some(Timestamp::default());
        }
        let deadline = self.index.deadlines.first().map(|(time, _)| *time);
        let reveal = self.next_reveal_due();
        let maturity = self.index.maturing.first().map(|(time, _)| *time);
        let epoch = self.epoch_due();
        let hasten = self.index.hastens.first();
        let round = self.index.rounds.first();
        let times = [deadline, reveal, maturity, epoch, hasten, round];
        times.into_iter().flatten().min()
    }

    /// When the first of the closed rounds has to be revealed: a tick from then on takes for not revealed what is not.
    pub fn next_reveal_due(&self) -> Option<Timestamp> {
        self.index.reveals.first().map(|(time, _)| *time)
    }

    /// Whether the account may read the blob: it uploaded it, or it is the result of a task that it paid for.
    pub fn may_read_blob(&self, account: AccountId, digest: Digest) -> bool {
        self.blobs
            .get(&digest)
            .is_some_and(|blob| blob.owners.contains(&account))
    }
}

/// The constants of placement in force, where nothing but the policies is at hand.
pub(crate) fn scheduling_of(policies: &BTreeMap<u32, Arc<Policy>>) -> &SchedulingPolicy {
    static DEFAULT: LazyLock<SchedulingPolicy> = LazyLock::new(SchedulingPolicy::default);
    let last = policies.last_key_value();
    last.map_or(&DEFAULT, |(_, policy)| &policy.scheduling)
}
