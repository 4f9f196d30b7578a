//! Nodes: what they offer, on which terms, what they are doing, and how reliable they were.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    command::{Availability, NodeProfile},
    definition::TaskType,
    digest::Digest,
    ids::{AccountId, AssignmentId, NodeId},
    report::NodeKey,
    terms::NodeTerms,
};

use super::{
    Suspension,
    compute::ComputeRecord,
    record::{HardwareClass, Record, Tally},
    speed::SpeedRecord,
    stake::Pledges,
};

/// A machine that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// How many nodes were registered before it.
    pub ordinal: u32,
    pub owner: AccountId,
    pub public_key: NodeKey,
    /// The keys that it had before, oldest first; none of them may come back.
    pub former_keys: Vec<NodeKey>,
    pub profile: NodeProfile,
    pub terms: NodeTerms,
    pub availability: Availability,
    pub standing: Standing,
    pub suspended: Option<Suspension>,
    /// Assignments that hold a slot: leased or running.
    pub active: BTreeSet<AssignmentId>,
    /// What they may take of the machine, and what its sealed results take of its storage.
    pub taken: Room,
    /// What it keeps of sealed results until they are opened: their outputs, in MiB. A part of what is taken of its storage.
    pub sealed_mib: u64,
    /// Inputs that it fetched, the last one last: it may have them still.
    pub cached: Vec<Digest>,
    /// Assignments with a sealed result, until their task's shares have matured or it ended without any.
    pub sealed: BTreeSet<AssignmentId>,
    pub records: BTreeMap<TaskType, Record>,
    /// How many epochs had closed when the tallies of its records were brought up to date: placement ranks it by them as of then.
    pub faded: u32,
    /// Its owner's compute points as of then, or of their last change, in whole points: placement ranks it by them.
    pub ranked_points: i64,
    pub returns: Returns,
    pub speed: SpeedRecord,
    /// What checks of its GPU showed.
    pub compute: ComputeRecord,
    /// Runs at once that it may have by what it has shown, whatever it offers.
    pub concurrency: u32,
    pub pledges: Pledges,
    /// When the last of its results was sealed that a draw had repeated, and that stood; what stood alone and was sealed before may mature.
    pub vouched_at: Timestamp,
    /// Shares of settlements so far.
    pub earned: Amount,
    pub registered_at: Timestamp,
}

/// Runs that a node gave back for nothing, in the epoch that was the last one then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Returns {
    pub epoch: u32,
    pub count: u32,
}

impl Returns {
    /// How many there were in an epoch.
    pub fn in_epoch(self, epoch: u32) -> u32 {
        if self.epoch == epoch { self.count } else { 0 }
    }

    /// One more.
    pub fn add(&mut self, epoch: u32) {
        let count = self.in_epoch(epoch).saturating_add(1);
        *self = Self { epoch, count };
    }
}

/// What runs may take of a machine, and what a machine has for all its runs together.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Room {
    pub memory_mib: u64,
    pub storage_mib: u64,
    pub gpu_memory_mib: u64,
    pub cpu_cores: u64,
    /// Memory and GPU memory together: on a machine whose GPU is software they are one. Others have enough of it.
    pub memories_mib: u64,
}

impl Room {
    /// Room for both.
    pub fn add(&mut self, more: Self) {
        *self = self.with(more, u64::saturating_add);
    }

    /// What is left without the other.
    pub fn remove(&mut self, less: Self) {
        *self = self.with(less, u64::saturating_sub);
    }

    /// Whether a machine that has `whole` has so much beside what others take. Of what a run does not take it needs none, even where the
    /// others take more than there is by now.
    pub fn fits_beside(self, taken: Self, whole: Self) -> bool {
        let all = self.with(taken, u64::saturating_add).quantities();
        let rows = self.quantities().into_iter().zip(all);
        rows.zip(whole.quantities())
            .all(|((own, all), has)| own == 0 || all <= has)
    }

    /// Its quantities, in the order of the fields.
    pub fn quantities(self) -> [u64; 5] {
        [
            self.memory_mib,
            self.storage_mib,
            self.gpu_memory_mib,
            self.cpu_cores,
            self.memories_mib,
        ]
    }

    /// So much storage, in MiB, and nothing else.
    pub fn storage(storage_mib: u64) -> Self {
        Self {
            storage_mib,
            ..Self::default()
        }
    }

    fn with(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            memory_mib: of(self.memory_mib, other.memory_mib),
            storage_mib: of(self.storage_mib, other.storage_mib),
            gpu_memory_mib: of(self.gpu_memory_mib, other.gpu_memory_mib),
            cpu_cores: of(self.cpu_cores, other.cpu_cores),
            memories_mib: of(self.memories_mib, other.memories_mib),
        }
    }
}

/// Whether a node takes part, as its operator wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    Working,
    /// Gets nothing new.
    Draining {
        /// Gone for good once nothing of it is open any more.
        leaving: bool,
    },
    /// Gone for good.
    Left {
        at: Timestamp,
    },
    /// Shut out for good.
    Revoked {
        reason: String,
        at: Timestamp,
    },
}

impl Standing {
    /// The public name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Draining { leaving: false } => "draining",
            Self::Draining { leaving: true } => "leaving",
            Self::Left { .. } => "left",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// It will never do anything again.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Working | Self::Draining { .. } => false,
            Self::Left { .. } | Self::Revoked { .. } => true,
        }
    }
}

impl Node {
    /// Runs at once that it is given: as many as it offers, as far as it has shown that it can.
    pub fn slots(&self) -> u32 {
        self.offered_slots().min(self.concurrency)
    }

    /// Runs at once, as machine and terms allow: each takes a core.
    pub fn offered_slots(&self) -> u32 {
        self.claimed_slots().min(self.profile.cpu_cores)
    }

    /// The same, whatever cores the machine has: leases from before there were draws went by it.
    pub fn claimed_slots(&self) -> u32 {
        let caps = &self.terms.caps;
        let runs = self.profile.slots.min(caps.runs.unwrap_or(u32::MAX));
        runs.min(caps.cpu_cores.unwrap_or(u32::MAX))
    }

    /// What it has for all its runs together.
    pub fn room(&self) -> Room {
        Room {
            memory_mib: self.memory_mib().into(),
            storage_mib: self.storage_mib().into(),
            gpu_memory_mib: self.gpu_memory_mib().into(),
            cpu_cores: self.cpu_cores().into(),
            memories_mib: self.memories_mib(),
        }
    }

    /// What its runs leave when all of them have ended: what is sealed is still kept then.
    pub fn idle_room(&self) -> Room {
        let mut room = self.room();
        room.remove(self.sealed_room());
        room
    }

    /// What it keeps of sealed results.
    pub fn sealed_room(&self) -> Room {
        Room::storage(self.sealed_mib)
    }

    /// Memory and GPU memory of all runs together, in MiB, where they are one; any number otherwise.
    fn memories_mib(&self) -> u64 {
        match self.has_one_memory() {
            true => self.memory_mib().into(),
            false => u64::MAX,
        }
    }

    /// Its GPU is software, whose memory is the machine's.
    pub fn has_one_memory(&self) -> bool {
        let gpu = self.profile.gpu.as_ref();
        gpu.is_some_and(|gpu| gpu.software)
    }

    /// Cores of all runs together, as machine and terms allow.
    pub fn cpu_cores(&self) -> u32 {
        let cap = self.terms.caps.cpu_cores.unwrap_or(u32::MAX);
        self.profile.cpu_cores.min(cap)
    }

    /// Memory of all runs together, in MiB, as machine and terms allow.
    pub fn memory_mib(&self) -> u32 {
        let cap = self.terms.caps.memory_mib.unwrap_or(u32::MAX);
        self.profile.memory_mib.min(cap)
    }

    /// Inputs and outputs of all runs together, in MiB, as machine and terms allow.
    pub fn storage_mib(&self) -> u32 {
        let cap = self.terms.caps.storage_mib.unwrap_or(u32::MAX);
        self.profile.storage_mib.min(cap)
    }

    /// Memory of the GPU for all runs together, in MiB, as machine and terms allow; zero without one.
    pub fn gpu_memory_mib(&self) -> u32 {
        let cap = self.terms.caps.gpu_memory_mib.unwrap_or(u32::MAX);
        self.profile
            .gpu
            .as_ref()
            .map_or(0, |gpu| gpu.memory_mib.min(cap))
    }

    /// Fuel that a run burns on it, in millions a second: the lower of what it claims and what its results showed.
    /// `None` where it never said.
    pub fn cpu_mfuel_s(&self) -> Option<u32> {
        self.speed.counted(self.profile.cpu_mfuel_s)
    }

    /// Its results show, again and again, less than half of the speed that it claims.
    pub fn is_slower_than_claimed(&self) -> bool {
        self.speed.is_below(self.profile.cpu_mfuel_s)
    }

    /// The class of arithmetic throughput that it claims for its GPU.
    pub fn claimed_compute(&self) -> Option<u8> {
        self.profile.gpu.as_ref().and_then(|gpu| gpu.compute)
    }

    /// The class that placement counts with: the lower of what it claims and of what checks showed. `None` where nothing counts.
    pub fn counted_compute(&self) -> Option<u8> {
        self.compute.counted(self.claimed_compute())
    }

    /// Slots that no assignment holds.
    pub fn free_slots(&self) -> u32 {
        let used = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        self.slots().saturating_sub(used)
    }

    /// Takes work, as far as the node itself can tell: its owner may be suspended.
    pub fn is_working(&self) -> bool {
        self.availability == Availability::Online
            && self.standing == Standing::Working
            && self.suspended.is_none()
    }

    /// Takes work and has a slot for it, as far as the node itself can tell.
    pub fn is_free(&self) -> bool {
        self.is_working() && self.free_slots() > 0
    }

    /// It is to leave, and nothing of it is open any more.
    pub fn may_go(&self) -> bool {
        self.standing == Standing::Draining { leaving: true }
            && self.active.is_empty()
            && self.sealed.is_empty()
    }

    /// Until when it gets no task of a type.
    pub fn backoff_until(&self, kind: TaskType) -> Timestamp {
        let record = self.records.get(&kind);
        record.map_or(Timestamp::default(), |of| of.backoff.backoff_until)
    }

    /// Its outcomes on a type of task and a class of hardware, as of when they were last brought up to date.
    pub fn tally(&self, kind: TaskType, class: &HardwareClass) -> Tally {
        let record = self.records.get(&kind);
        let tally = record.and_then(|of| of.tallies.get(class));
        tally.copied().unwrap_or_default()
    }

    /// The hardware that a run uses on it: its GPU's class for one that needs a GPU, where it has one.
    pub fn hardware(&self, with_gpu: bool) -> HardwareClass {
        let class = self.gpu_class().filter(|_| with_gpu);
        class.map_or(HardwareClass::Cpu, |class| HardwareClass::Gpu(class.into()))
    }

    /// Fuel that a run burns on it, in millions a second; 0 where it is not known.
    pub fn mfuel_s(&self) -> u64 {
        self.cpu_mfuel_s().unwrap_or(0).into()
    }

    /// Fuel that its results showed, in millions a second; 0 where they are too few to tell.
    pub fn shown_mfuel_s(&self) -> u64 {
        self.speed.shown().unwrap_or(0).into()
    }

    /// The class that GPU results of this node compare within.
    pub fn gpu_class(&self) -> Option<&str> {
        self.profile.gpu.as_ref().map(|gpu| gpu.class.as_str())
    }
}
