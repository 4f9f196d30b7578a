//! What a task needs of a node, as one comparable value: tasks with equal needs wait in one line, and a plan finds their
//! nodes once.

use std::{
    collections::BTreeMap,
    hash::{Hash as _, Hasher},
};

use crate::{
    amount::Amount,
    decide::stake_due,
    definition::{GpuNeed, TaskDefinition, TaskType},
    digest::Digest,
    policy::{Market, Policy, SchedulingPolicy},
    state::{PREPARATION_MS, Room, Task},
};

pub(super) const MIB: u64 = 1024 * 1024;
const MFUEL: u64 = 1_000_000;

/// Everything about a task by which nodes are filtered and ranked, but for who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Needs {
    /// A hash of the rest, which tells needs apart at once. It orders them in some way that nothing depends on.
    key: u64,
    pub(crate) kind: TaskType,
    /// Drawn among all nodes that fit, and not among the best.
    pub(crate) sampled: bool,
    /// Owners do not matter.
    pub(crate) private: bool,
    /// What its lease holds of a node until the run begins.
    pub(crate) room: Room,
    /// What the run alone takes: what is more in `room` is for compiling its module.
    pub(crate) run: Room,
    /// Fuel that the node burns at least, in millions a second.
    pub(crate) mfuel_s: u64,
    /// Fuel that the node's results showed at least, in millions a second; what it claims does not count. 0: whatever it showed.
    pub(crate) shown_mfuel_s: u64,
    pub(crate) gpu: Option<GpuNeed>,
    /// Owners beside the requester that the GPU class must have in which it begins. 0: whatever it has.
    pub(crate) class_owners: u32,
    /// What the replica earns for certain, should it be late; where nodes ask, the most that they may ask for.
    pub(crate) price: Amount,
    /// It goes to nodes that publish an ask.
    pub(crate) by_ask: bool,
    /// Of its stake so much must be free, in micro-AEV, and it must ask for more than nothing where nodes ask. 0: whatever it has.
    pub(crate) stake: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) labels_any: BTreeMap<String, Vec<String>>,
    pub(crate) labels_not: BTreeMap<String, Vec<String>>,
    /// The largest input, where a node that has it already is to be preferred.
    pub(crate) data: Option<Digest>,
    /// The speed at which a run ends within `max_latency_ms`; 0 where nothing is known. Nodes that showed it gain levels: what they claim
    /// does not count.
    pub(crate) in_time_mfuel_s: u64,
}

impl Needs {
    /// Of a task whose inputs are known, under the constants that it was created under.
    pub(crate) fn of(task: &Task, policy: &Policy) -> Self {
        let definition = &task.definition;
        let qos = &definition.qos;
        let sampled = task.is_sampled();
        let scheduling = &policy.scheduling;
        let largest = task.inputs.iter().max_by_key(|i| (i.size, i.digest));
        let cached = largest.filter(|i| i.size >= scheduling.score.cached_bytes_min);
        let in_time = qos.expected_fuel.zip(qos.max_latency_ms);
        let mut needs = Self {
            key: 0,
            kind: definition.kind,
            sampled,
            private: policy.market == Market::Private,
            room: lease_room(task, scheduling),
            run: room(task, scheduling),
            mfuel_s: qos.min_mfuel_s.unwrap_or(0).into(),
            shown_mfuel_s: 0,
            gpu: qos.gpu.clone(),
            class_owners: match task.bound_class() {
                // It was chosen when the result was made that this one is held against.
                Some(_) => 0,
                None => class_owners(definition, policy),
            },
            price: definition.least_pay(),
            by_ask: definition.economics.pricing.is_by_ask(),
            stake: if task.next_is_staked(policy, 0) {
                most_stake(task, policy)
            } else {
                0
            },
            labels: qos.labels.clone(),
            labels_any: qos.labels_any.clone(),
            labels_not: qos.labels_not.clone(),
            // A sampled task is not ranked.
            data: cached.filter(|_| !sampled).map(|i| i.digest),
            in_time_mfuel_s: in_time
                .filter(|_| !sampled)
                .map_or(0, |(fuel, ms)| speed_in_time(fuel.0, ms)),
        };
        needs.rekey();
        needs
    }

    /// Of a further replica, after the plan gave as many with stake behind them as are needed.
    pub(super) fn unstaked(&self) -> Self {
        let mut needs = self.clone();
        needs.stake = 0;
        needs.rekey();
        needs
    }

    /// The needs with every quantity rounded to a power of two. A node whose own sizes are rounded down to powers of two meets what is
    /// rounded up where it would have it whatever it really has; and what is rounded down, where it may have it.
    pub(super) fn rounded(&self, rounding: Rounding) -> Self {
        let round = |n: u64| rounding.of(n);
        let round32 = |n: u32| u32::try_from(rounding.of(n.into())).unwrap_or(u32::MAX);
        let mut needs = self.clone();
        let rounded = |room: Room| Room {
            memory_mib: round(room.memory_mib),
            storage_mib: round(room.storage_mib),
            gpu_memory_mib: round(room.gpu_memory_mib),
            cpu_cores: round(room.cpu_cores),
            memories_mib: round(room.memories_mib),
        };
        needs.room = rounded(needs.room);
        needs.run = rounded(needs.run);
        needs.mfuel_s = round(needs.mfuel_s);
        if let Some(gpu) = &mut needs.gpu {
            gpu.buffer_mib = gpu.buffer_mib.map(round32);
        }
        // What is asked for is met from below: one that asks for less than the power of two at or below the price asks for no more than
        // the price, and one that asks for less than twice that may.
        let power = floor_power(u64::try_from(needs.price.0).unwrap_or(0));
        let most = match rounding {
            Rounding::Up => power.saturating_sub(1),
            Rounding::Down => power.saturating_mul(2).saturating_sub(1),
        };
        needs.price = Amount(i64::try_from(most).unwrap_or(i64::MAX));
        needs.rekey();
        needs
    }

    /// After a change: equal needs have equal keys.
    pub(super) fn rekey(&mut self) {
        self.key = 0;
        let mut hasher = Fnv::new();
        self.hash(&mut hasher);
        self.key = hasher.finish();
    }

    /// Hashes what tells these needs apart.
    pub(super) fn hash_key(&self, hasher: &mut Fnv) {
        hasher.write_u64(self.key);
    }
}

/// Which power of two stands for a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
}

impl Rounding {
    fn of(self, n: u64) -> u64 {
        match self {
            // Where nothing is asked for, nothing is.
            Self::Up if n == 0 => 0,
            Self::Up => n.checked_next_power_of_two().unwrap_or(u64::MAX),
            Self::Down => floor_power(n),
        }
    }
}

/// The greatest power of two that is not above it.
pub(super) fn floor_power(n: u64) -> u64 {
    n.checked_ilog2().map_or(0, |log| 1 << log)
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

/// Owners, beside the requester, that a GPU class must have for a sample to begin in it: one for each replica, where those are compared bit by
/// bit and are not one owner's. 0 where it does not matter.
pub(crate) fn class_owners(definition: &TaskDefinition, policy: &Policy) -> u32 {
    let replicas = definition.sampling().replicas;
    let in_one_class =
        definition.qos.gpu.is_some() && replicas > 1 && definition.comparison().is_none();
    match policy.market {
        Market::Open if in_one_class => replicas,
        Market::Open | Market::Private => 0,
    }
}

/// Storage that the checkpoints of a run take on its node, in MiB: the newest two are kept, of 8 MiB at most, and the next one is written beside
/// them.
const CHECKPOINTS_MIB: u64 = 24;

/// What a node pledges for the task where it earns the most, in micro-AEV.
pub(super) fn most_stake(task: &Task, policy: &Policy) -> u64 {
    let most = task.definition.economics.pricing.max_price();
    stake_due(task, most, policy).0.unsigned_abs()
}

/// The least speed, in millions a second, at which so much fuel is burnt in so many ms.
fn speed_in_time(fuel: u64, ms: u32) -> u64 {
    let a_second = u128::from(fuel) * 1_000;
    let speed = a_second.div_ceil(u128::from(ms.max(1)) * u128::from(MFUEL));
    u64::try_from(speed).unwrap_or(u64::MAX)
}

/// How long a node may fetch before it begins a run of the task, in ms: longer for more bytes.
pub fn fetch_ms(task: &Task, policy: &SchedulingPolicy) -> u64 {
    let leases = &policy.leases;
    u64::from(leases.fetch_ms).saturating_add(leases.transfer_ms(task.input_bytes()))
}

/// What a run may take beyond its own time limit before it commits, in ms: longer for outputs that take longer.
pub fn slack_ms(task: &Task, policy: &SchedulingPolicy) -> u64 {
    let leases = &policy.leases;
    let most = u64::from(task.definition.limits.output_mib).saturating_mul(MIB);
    let uploading = leases.transfer_ms(most).saturating_add(PREPARATION_MS);
    uploading.max(leases.slack_ms.into())
}

/// What a lease of the task holds of a machine until its run begins: the memory in which the module is compiled, where that is more than
/// the run's.
pub(crate) fn lease_room(task: &Task, policy: &SchedulingPolicy) -> Room {
    let (run, compile_mib) = (room(task, policy), u64::from(task.compile_mib));
    Room {
        memory_mib: run.memory_mib.max(compile_mib),
        memories_mib: run.memories_mib.max(compile_mib),
        ..run
    }
}

/// Storage that a lease of the task takes beside inputs and outputs, in MiB: of its module, the compiled form and its checkpoints, and the policy's
/// reserve at least.
pub fn reserve_mib(task: &Task, policy: &SchedulingPolicy) -> u64 {
    let of_module = u64::from(task.module_mib);
    let needed = match of_module {
        // Before anybody measured it.
        0 => 0,
        of_module => of_module.saturating_add(CHECKPOINTS_MIB),
    };
    needed.max(policy.storage_reserve_mib.into())
}

/// The most that a task's run may take of a machine: a core at least.
pub(crate) fn room(task: &Task, policy: &SchedulingPolicy) -> Room {
    let (limits, qos) = (&task.definition.limits, &task.definition.qos);
    let inputs = task.inputs.iter().map(|i| i.size.0);
    // How large what is compared is stays closed.
    let compared = task.compares().map(|of| of.bytes_max.0);
    let inputs = inputs.chain(compared).map(|bytes| bytes.div_ceil(MIB));
    let inputs = inputs.fold(0, u64::saturating_add);
    let memory_mib = u64::from(limits.memory_mib);
    let gpu_memory_mib = qos.gpu.as_ref().map_or(0, |need| need.memory_mib.into());
    Room {
        memory_mib,
        storage_mib: inputs
            .saturating_add(limits.output_mib.into())
            .saturating_add(reserve_mib(task, policy)),
        gpu_memory_mib,
        cpu_cores: qos.cpu_cores.unwrap_or(1).max(1).into(),
        memories_mib: memory_mib.saturating_add(gpu_memory_mib),
    }
}

/// What a sealed result of the task keeps of its node's storage until it is opened: as much as its outputs may take, for a commitment does
/// not tell how much they do.
pub(crate) fn sealed_mib(task: &Task) -> u64 {
    task.definition.limits.output_mib.into()
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

    #[test]
    fn rounded_needs_go_by_what_is_told_of_a_node() {
        for need in 0..70u64 {
            for has in 0..200u64 {
                // What is known of the node: between this and less than twice that.
                let least = floor_power(has);
                let (surely, perhaps) = (least >= need, need == 0 || 2 * least > need);
                assert_eq!(surely, has >= Rounding::Up.of(need), "{need} {has}");
                assert_eq!(perhaps, has >= Rounding::Down.of(need), "{need} {has}");
            }
        }
    }
}
