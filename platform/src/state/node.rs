//! Nodes: what they offer, what they are doing, and how reliable they were.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Ppm,
    command::{Availability, NodeProfile},
    definition::TaskType,
    fixed::wilson_lower_bound,
    ids::{AccountId, AssignmentId, NodeId},
    policy::Policy,
    report::NodeKey,
};

/// A machine that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub owner: AccountId,
    pub public_key: NodeKey,
    pub profile: NodeProfile,
    pub availability: Availability,
    /// Assignments that hold a slot: leased or running.
    pub active: BTreeSet<AssignmentId>,
    pub records: BTreeMap<TaskType, Record>,
    pub registered_at: Timestamp,
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

    /// The class that GPU results of this node compare within.
    pub fn gpu_class(&self) -> Option<&str> {
        self.profile.gpu.as_ref().map(|gpu| gpu.class.as_str())
    }
}
