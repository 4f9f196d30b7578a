//! A task and where it stands.

use std::sync::Arc;

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    assignment::{Assignment, Stage},
    assignments::Assignments,
    inspection::{Inspection, InspectionOf},
    phase::Phase,
    record::HardwareClass,
    review::{Review, ReviewOf},
    sample::Sample,
};
use crate::{
    amount::{Amount, Count, Ppm},
    content::ContentPrice,
    definition::{Method, TaskDefinition},
    digest::Digest,
    event::{CheckResult, Refusal, Share, TaskCreated, Verdict},
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, ContentId, NodeId, TaskId},
    ledger::LedgerAccount,
    report::{Artifact, BlobRef},
};

/// All checkpoints of a task together, in bytes, whichever of its assignments they come from: each stays in the store, for an audit that runs
/// a resumed run again. So much are 2,048 of the largest: one every 42 seconds of a run of a day.
pub const TASK_CHECKPOINT_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// One task with everything that became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub requester: AccountId,
    pub definition: Arc<TaskDefinition>,
    pub definition_digest: Digest,
    pub seed: Count,
    /// Goes into every draw for it.
    pub nonce: Hex<32>,
    pub policy_version: u32,
    /// What was locked at creation: the worst case.
    pub escrow: Amount,
    /// What the contents that it uses cost it, as far as they cost something.
    pub prices: Vec<ContentPrice>,
    pub created_at: Timestamp,
    /// When its inputs were complete.
    pub queued_at: Option<Timestamp>,
    /// When its first assignment started.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub ended_at: Option<Timestamp>,
    pub phase: Phase,
    /// Counts the rounds of sampling, from 1.
    pub round: u32,
    /// How many replicas the current round needs in all.
    pub replicas_wanted: u32,
    /// Failed, lost and overtaken assignments, and those given back beyond what is free.
    pub attempts_spent: u32,
    pub pace: Pace,
    pub sample: Sample,
    /// The node that is kept free for it.
    pub reserved: Option<NodeId>,
    pub inputs: Vec<Artifact>,
    /// Memory that compiling its module takes, in MiB.
    pub compile_mib: u32,
    /// Storage that its module and the compiled form take, in MiB; 0 where nobody measured them.
    pub module_mib: u32,
    pub assignments: Assignments,
    /// The newest checkpoint of each run, in the order of saving.
    pub checkpoints: Vec<Checkpoint>,
    /// Checkpoints that were dropped because another node's run failed from them, with the runs that saved them.
    pub suspects: Vec<(AssignmentId, BlobRef)>,
    /// Bytes of all checkpoints that were stored for it.
    pub checkpoint_bytes: u64,
    /// What verifiers look at before the verdict.
    pub inspections: Vec<Inspection>,
    /// The task whose result it looks at, for a verdict to come.
    pub inspects: Option<InspectionOf>,
    /// Nodes that had a lease for comparing results of it, which they could read then: neither they nor their owners' others get a further
    /// replica. Nobody in a private market.
    pub readers: Vec<NodeId>,
    pub verdict: Option<VerdictRecord>,
    pub review: Review,
    /// The task whose verdict it looks at again.
    pub review_of: Option<ReviewOf>,
    pub settlement: Option<Settlement>,
    /// The model that it registered.
    pub model: Option<ContentId>,
}

/// Where a run can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The run that saved it.
    pub by: AssignmentId,
    /// The node of that run.
    pub author: NodeId,
    pub blob: BlobRef,
    /// How far the task is there, as far as runs told: never less than where the run began.
    pub ppm: Ppm,
}

/// How a task's replicas are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// The next one once those before are sealed.
    OneByOne,
    /// One after the other could be too late.
    AtOnce,
}

/// The verdict on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    pub verdict: Verdict,
    pub accepted: Vec<AssignmentId>,
    pub refused: Vec<Refusal>,
    pub checks: Vec<CheckResult>,
    pub outputs: Vec<Artifact>,
    pub result: Option<BlobRef>,
    pub published: Option<Value>,
    pub late: bool,
}

/// What the task cost and who got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Of the event that says so: what a receipt is for.
    pub position: u64,
    pub fee: Amount,
    pub refund: Amount,
    /// Of the refund, what is the requester's when the result matures.
    pub held: Amount,
    pub shares: Vec<Share>,
    /// When the shares mature, or did; nothing where there were none, and in logs of old.
    pub matures_at: Option<Timestamp>,
}

impl Task {
    /// A task that was just created.
    pub(crate) fn new(e: &TaskCreated, at: Timestamp) -> Self {
        let definition = Arc::clone(&e.definition);
        let sampling = definition.sampling();
        let (sample, replicas_wanted) = if sampling.adaptive {
            (Sample::Undecided, 1)
        } else {
            (Sample::Repeated { trusted: None }, sampling.initial())
        };
        Self {
            id: e.task,
            requester: e.requester,
            definition_digest: e.definition_digest,
            seed: e.seed,
            nonce: e.nonce,
            policy_version: e.policy_version,
            escrow: e.escrow,
            prices: e.prices.clone(),
            created_at: at,
            queued_at: None,
            started_at: None,
            ended_at: None,
            phase: Phase::Created,
            round: 1,
            replicas_wanted,
            attempts_spent: 0,
            pace: Pace::OneByOne,
            sample,
            reserved: None,
            inputs: Vec::new(),
            compile_mib: 0,
            module_mib: 0,
            assignments: Assignments::default(),
            checkpoints: Vec::new(),
            suspects: Vec::new(),
            checkpoint_bytes: 0,
            inspections: Vec::new(),
            inspects: None,
            readers: Vec::new(),
            verdict: None,
            review: Review::None,
            review_of: None,
            settlement: None,
            model: None,
            definition,
        }
    }

    /// Bytes of checkpoints that may still be stored for it.
    pub fn checkpoint_room(&self) -> u64 {
        TASK_CHECKPOINT_BYTES_MAX.saturating_sub(self.checkpoint_bytes)
    }

    /// How many replicas are placed or have brought a result.
    pub fn replicas(&self) -> u32 {
        let count = self.assignments.values().filter(|a| a.is_replica()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many of the replicas that it wants are placed or have brought a result: a run and its duplicate are one.
    pub fn filled(&self) -> u32 {
        self.replicas().saturating_sub(self.duplicates())
    }

    /// Bytes of its inputs; of a comparison the most that they can be.
    pub fn input_bytes(&self) -> u64 {
        let inputs = self.inputs.iter().map(|input| input.size.0);
        let compared = self.compares().map(|of| of.bytes_max.0);
        inputs.chain(compared).fold(0, u64::saturating_add)
    }

    /// Whether several replicas are compared.
    pub fn is_sampled(&self) -> bool {
        self.definition.sampling().replicas > 1
    }

    /// Whether it looks at another task's result.
    pub fn looks_back(&self) -> bool {
        self.review_of.is_some() || self.inspects.is_some()
    }

    /// How many more replicas may be placed now: where they go one after the other, the next one once nothing of the task
    /// runs.
    pub fn open_slots(&self) -> u32 {
        match self.pace {
            Pace::AtOnce => self.missing(),
            Pace::OneByOne if self.active().next().is_some() => 0,
            Pace::OneByOne => self.missing().min(1),
        }
    }

    /// How many more replicas the round needs.
    pub fn missing(&self) -> u32 {
        match self.phase {
            Phase::Queued | Phase::Running => self.replicas_wanted.saturating_sub(self.filled()),
            Phase::Created
            | Phase::Verifying { .. }
            | Phase::Inspecting
            | Phase::Settled { .. }
            | Phase::Unmet { .. }
            | Phase::Overturned
            | Phase::Inconclusive
            | Phase::Failed { .. }
            | Phase::Expired
            | Phase::Cancelled { .. } => 0,
        }
    }

    /// How many of its runs were given back for nothing.
    pub fn free_returns(&self) -> u32 {
        let free = |a: &&Assignment| matches!(a.stage, Stage::Returned { counted: false, .. });
        let count = self.assignments.values().filter(free).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many of its runs and results are duplicates of others that are there, too.
    pub fn duplicates(&self) -> u32 {
        let live = self.assignments.values().filter(|a| a.is_replica());
        let doubled = live.filter_map(|a| self.assignments.get(&a.doubles?));
        let count = doubled.filter(|run| run.is_replica()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Attempts that are spent once this run ends without a result: those before it, this one, and those that are kept for duplicates
    /// which may be overtaken. The duplicate that is left of a doubled run is none any more.
    pub fn attempts_after(&self, ended: &Assignment) -> u32 {
        let mates = self
            .assignments
            .values()
            .filter(|a| a.id != ended.id && a.is_replica() && a.slot() == ended.slot());
        let kept = self
            .duplicates()
            .saturating_sub(u32::from(mates.count() > 0));
        self.attempts_spent.saturating_add(1).saturating_add(kept)
    }

    /// Where the next run goes on from on this hardware: the checkpoint that is furthest, the newest among equals, of those made on the
    /// same; `None` where it starts from zero. What others repeat starts from zero, replicas and what is attested: it has to be confirmed
    /// with its fuel, and not inherited.
    pub fn resume_point(&self, hardware: &HardwareClass) -> Option<&Checkpoint> {
        let is_alike = |c: &&Checkpoint| {
            let run = self.assignments.get(&c.by);
            run.is_some_and(|run| run.hardware == *hardware)
        };
        let furthest = self.checkpoints.iter().filter(is_alike);
        let furthest = furthest.max_by_key(|c| c.ppm);
        let mut methods = self.definition.verification.iter();
        let is_attested = methods.any(|m| matches!(m, Method::Attestation { .. }));
        furthest.filter(|_| !self.is_sampled() && !is_attested)
    }

    /// The runs on whose checkpoints a run rests, with those: the one that it went on from first.
    pub fn rests_on(&self, run: &Assignment) -> Vec<(&Assignment, BlobRef)> {
        let mut runs = Vec::new();
        let mut next = run.resumed_run.zip(run.resume);
        // Each was leased before the one that goes on from it.
        while let Some((by, blob)) = next {
            let Some(author) = self.assignments.get(&by) else {
                break;
            };
            runs.push((author, blob));
            next = author.resumed_run.zip(author.resume);
        }
        runs
    }

    /// It went on from what another node had made: what is wrong with its result may be that node's work.
    pub fn took_over(&self, run: &Assignment) -> bool {
        let rests_on = self.rests_on(run);
        run.author.is_some_and(|author| author != run.node)
            || rests_on.iter().any(|(author, _)| author.node != run.node)
    }

    /// When its shares mature, as long as they have not.
    pub fn maturing(&self) -> Option<Timestamp> {
        match self.phase {
            // It waits for a review that is open or due.
            Phase::Settled { matured_at: None } | Phase::Unmet { matured_at: None } => {
                let settlement = self.settlement.as_ref()?;
                settlement.matures_at.filter(|_| !self.review.is_awaited())
            }
            Phase::Settled { .. }
            | Phase::Unmet { .. }
            | Phase::Created
            | Phase::Queued
            | Phase::Running
            | Phase::Verifying { .. }
            | Phase::Inspecting
            | Phase::Overturned
            | Phase::Inconclusive
            | Phase::Failed { .. }
            | Phase::Expired
            | Phase::Cancelled { .. } => None,
        }
    }

    /// The ledger account to which what it does not cost goes back.
    pub fn payer(&self) -> LedgerAccount {
        let review = self.review_of.as_ref();
        review.map_or(LedgerAccount::Available(self.requester), |of| {
            of.payer.account()
        })
    }

    /// When its shares became available.
    pub fn matured_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Settled { matured_at } | Phase::Unmet { matured_at } => matured_at,
            Phase::Created
            | Phase::Queued
            | Phase::Running
            | Phase::Verifying { .. }
            | Phase::Inspecting
            | Phase::Overturned
            | Phase::Inconclusive
            | Phase::Failed { .. }
            | Phase::Expired
            | Phase::Cancelled { .. } => None,
        }
    }

    /// When its verdict is late, or the task over: by `max_latency_ms` from when it was queued, or by its deadline.
    pub fn due_at(&self) -> Option<Timestamp> {
        let qos = &self.definition.qos;
        let latest = self.queued_at.zip(qos.max_latency_ms);
        let latest = latest.map(|(at, ms)| at.plus_ms(ms.into()));
        latest.into_iter().chain(qos.deadline).min()
    }

    /// Whether an assignment's node took longer than `max_latency_ms` from its lease to its commitment. What the task waited for
    /// before that is not the node's.
    pub fn missed_latency(&self, assignment: &Assignment) -> bool {
        let committed = assignment.commitment();
        committed.is_some_and(|commitment| {
            let most = self.definition.qos.max_latency_ms;
            super::took_too_long(
                most,
                assignment.leased_at,
                commitment.at,
                commitment.absent_ms.0,
            )
        })
    }

    /// Assignments that hold a node's slot.
    pub fn active(&self) -> impl Iterator<Item = &Assignment> {
        self.assignments.values().filter(|a| a.is_active())
    }

    /// The requester may read outputs and result: the task settled, or its own bound was not met.
    pub fn result_is_open(&self) -> bool {
        match self.phase {
            Phase::Settled { .. } | Phase::Unmet { .. } | Phase::Overturned => true,
            Phase::Created
            | Phase::Queued
            | Phase::Running
            | Phase::Verifying { .. }
            | Phase::Inspecting
            | Phase::Inconclusive
            | Phase::Failed { .. }
            | Phase::Expired
            | Phase::Cancelled { .. } => false,
        }
    }

    /// An output of the agreed result.
    pub fn output(&self, name: &str) -> Option<&Artifact> {
        self.verdict
            .as_ref()?
            .outputs
            .iter()
            .find(|o| o.name == name)
    }

    /// How far the run is: the replica that is furthest, in parts per million, with its note.
    pub fn progress(&self) -> Option<(u32, &str)> {
        let running = self.assignments.values().filter_map(|a| match &a.stage {
            Stage::Running { ppm, note, .. } => Some((*ppm, note.as_str())),
            Stage::Leased
            | Stage::Committed(_)
            | Stage::Shown(_)
            | Stage::Revealed(_)
            | Stage::Accepted(_)
            | Stage::Refused { .. }
            | Stage::Lost { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. }
            | Stage::Withdrawn => None,
        });
        running.max_by_key(|(ppm, _)| *ppm)
    }
}
