//! Nodes: what they offer, what they are doing, and how reliable they were.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Ppm,
    command::{Availability, NodeProfile},
    definition::TaskType,
    digest::Digest,
    fixed::wilson_lower_bound,
    ids::{AccountId, AssignmentId, NodeId},
    policy::Policy,
    report::NodeKey,
};

/// A machine that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// How many nodes were registered before it.
    pub ordinal: u32,
    pub owner: AccountId,
    pub public_key: NodeKey,
    pub profile: NodeProfile,
    pub availability: Availability,
    /// Assignments that hold a slot: leased or running.
    pub active: BTreeSet<AssignmentId>,
    /// Memory and storage that they may take.
    pub taken: Room,
    /// Inputs that it fetched, the last one last: it may have them still.
    pub cached: Vec<Digest>,
    pub records: BTreeMap<TaskType, Record>,
    pub registered_at: Timestamp,
}

/// Memory and storage of runs, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Room {
    pub memory_mib: u64,
    pub storage_mib: u64,
}

impl Room {
    /// Room for both.
    pub fn add(&mut self, more: Self) {
        self.memory_mib = self.memory_mib.saturating_add(more.memory_mib);
        self.storage_mib = self.storage_mib.saturating_add(more.storage_mib);
    }

    /// What is left without the other.
    pub fn remove(&mut self, less: Self) {
        self.memory_mib = self.memory_mib.saturating_sub(less.memory_mib);
        self.storage_mib = self.storage_mib.saturating_sub(less.storage_mib);
    }
}

/// How a node did on one type of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Accepted results.
    pub good: u32,
    /// Refused results, lost leases, node failures, failures that others contradicted, and late results.
    pub bad: u32,
    /// Faults since the last accepted result; sets the back-off.
    pub faults_in_a_row: u32,
    pub backoff_until: Timestamp,
}

impl Record {
    /// Counts an accepted result.
    pub fn succeed(&mut self) {
        self.good = self.good.saturating_add(1);
        self.faults_in_a_row = 0;
    }

    /// Counts a fault and backs off for `backoff_ms`, doubled with each fault in a row.
    pub fn fault(&mut self, now: Timestamp, policy: &Policy) {
        self.bad = self.bad.saturating_add(1);
        let doubled = u64::from(policy.backoff_ms) << self.faults_in_a_row.min(31);
        let wait_ms = doubled.min(u64::from(policy.backoff_max_ms));
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(1);
        self.backoff_until = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    }

    /// Counts a result that was right but later than asked for.
    pub fn late(&mut self) {
        self.bad = self.bad.saturating_add(1);
    }

    /// Lower confidence bound of the share of good results.
    pub fn reliability(&self) -> Ppm {
        wilson_lower_bound(self.good, self.bad)
    }
}

impl Node {
    /// Slots that no assignment holds.
    pub fn free_slots(&self) -> u32 {
        let used = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        self.profile.slots.saturating_sub(used)
    }

    /// Takes work and has a slot for it.
    pub fn is_free(&self) -> bool {
        self.availability == Availability::Online && self.free_slots() > 0
    }

    /// The node's record on a type of task.
    pub fn record(&self, kind: TaskType) -> Record {
        self.records.get(&kind).copied().unwrap_or_default()
    }

    /// Lower confidence bound of the share of good results on a type of task.
    pub fn reliability(&self, kind: TaskType) -> Ppm {
        self.record(kind).reliability()
    }

    /// Fuel that a run burns on it, in millions a second; 0 where it is not known.
    pub fn mfuel_s(&self) -> u64 {
        0
    }

    /// The class that GPU results of this node compare within.
    pub fn gpu_class(&self) -> Option<&str> {
        self.profile.gpu.as_ref().map(|gpu| gpu.class.as_str())
    }
}
