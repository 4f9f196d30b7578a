//! What a task needs of a node, as one comparable value: tasks with equal needs wait in one line, and a plan finds their
//! nodes once.

use std::{
    collections::BTreeMap,
    hash::{Hash as _, Hasher},
};

use crate::{
    amount::Amount,
    definition::{GpuNeed, TaskType},
    digest::Digest,
    policy::SchedulingPolicy,
    state::{Room, Task},
};

const MIB: u64 = 1024 * 1024;
const MFUEL: u64 = 1_000_000;

/// Everything about a task by which nodes are filtered and ranked, but for who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Needs {
    /// A hash of the rest, which tells needs apart at once. It orders them in some way that nothing depends on.
    key: u64,
    pub(crate) kind: TaskType,
    /// Drawn among all nodes that fit, and not among the best.
    pub(crate) sampled: bool,
    pub(crate) room: Room,
    pub(crate) cpu_cores: u32,
    /// Fuel that the node burns at least, in millions a second.
    pub(crate) mfuel_s: u64,
    pub(crate) gpu: Option<GpuNeed>,
    /// What the replica earns.
    pub(crate) price: Amount,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) labels_any: BTreeMap<String, Vec<String>>,
    pub(crate) labels_not: BTreeMap<String, Vec<String>>,
    /// The largest input, where a node that has it already is to be preferred.
    pub(crate) data: Option<Digest>,
    /// The speed at which a run ends within `max_latency_ms`; 0 where nothing is known.
    pub(crate) in_time_mfuel_s: u64,
}

impl Needs {
    /// Of a task whose inputs are known, under the constants that it was created under.
    pub(crate) fn of(task: &Task, policy: &SchedulingPolicy) -> Self {
        let definition = &task.definition;
        let qos = &definition.qos;
        let sampled = definition.sampling().replicas > 1;
        let largest = task.inputs.iter().max_by_key(|i| (i.size, i.digest));
        let cached = largest.filter(|i| i.size >= policy.score.cached_bytes_min);
        let in_time = qos.expected_fuel.zip(qos.max_latency_ms);
        let mut needs = Self {
            key: 0,
            kind: definition.kind,
            sampled,
            room: room(task, policy),
            cpu_cores: qos.cpu_cores.unwrap_or(0),
            mfuel_s: qos.min_mfuel_s.unwrap_or(0).into(),
            gpu: qos.gpu.clone(),
            price: definition.economics.pricing.max_price(),
            labels: qos.labels.clone(),
            labels_any: qos.labels_any.clone(),
            labels_not: qos.labels_not.clone(),
            // A sampled task is not ranked.
            data: cached.filter(|_| !sampled).map(|i| i.digest),
            in_time_mfuel_s: in_time
                .filter(|_| !sampled)
                .map_or(0, |(fuel, ms)| speed_in_time(fuel.0, ms)),
        };
        let mut hasher = Fnv::new();
        needs.hash(&mut hasher);
        needs.key = hasher.finish();
        needs
    }

    /// Hashes what tells these needs apart.
    pub(super) fn hash_key(&self, hasher: &mut Fnv) {
        hasher.write_u64(self.key);
    }
}

/// FNV-1a with 64 bits (G. Fowler, L. C. Noll, K.-P. Vo): the same on every machine, which the library's hasher need not be.
pub(super) struct Fnv(u64);

impl Fnv {
    pub(super) fn new() -> Self {
        Self(FNV_OFFSET)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

/// The least speed, in millions a second, at which so much fuel is burnt in so many ms.
fn speed_in_time(fuel: u64, ms: u32) -> u64 {
    let a_second = u128::from(fuel) * 1_000;
    let speed = a_second.div_ceil(u128::from(ms.max(1)) * u128::from(MFUEL));
    u64::try_from(speed).unwrap_or(u64::MAX)
}

/// The most memory and storage that a task's run may take.
pub(crate) fn room(task: &Task, policy: &SchedulingPolicy) -> Room {
    let limits = &task.definition.limits;
    let inputs = task.inputs.iter().map(|i| i.size.0.div_ceil(MIB));
    let inputs = inputs.fold(0, u64::saturating_add);
    Room {
        memory_mib: limits.memory_mib.into(),
        storage_mib: inputs
            .saturating_add(limits.output_mib.into())
            .saturating_add(policy.storage_reserve_mib.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_in_time_is_rounded_up() {
        // 3,000 million units in 2 s.
        assert_eq!(speed_in_time(3_000 * MFUEL, 2_000), 1_500);
        assert_eq!(speed_in_time(3_000 * MFUEL + 1, 2_000), 1_501);
        assert_eq!(speed_in_time(u64::MAX, 0), u64::MAX / 1_000 + 1);
    }
}
