//! What this machine's operator allows, kept to by the agent itself, whatever the platform hands out.

use aevir_sandbox::{cache::CACHE_BYTES_MAX, limits::ceiling::CHECKPOINT_BYTES};
use aevir_wire::{Lease, NodeCaps, NodeProfile};

const MIB: u64 = 1024 * 1024;
/// Checkpoints of a run that lie on the disk at once: the newest two are kept, and the next one is written beside them.
const CHECKPOINTS: u64 = 3;
const CHECKPOINTS_MIB: u64 = CHECKPOINTS * CHECKPOINT_BYTES / MIB;
/// Of what a lease holds for its module, what the compiled form gets where nobody measured it: it is several times as large.
const COMPILED_OF_RESERVE: (u64, u64) = (3, 4);
/// Of the storage that nobody needs, one of so many parts is for compiled modules: they are made again in seconds, and inputs come over a line.
const COMPILED_PART: u64 = 4;

/// The most that all runs together may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Runs at once.
    pub(crate) runs: u32,
    memory_mib: u64,
    storage_mib: u64,
    gpu_memory_mib: u64,
    /// The GPU is software: its memory is the machine's.
    one_memory: bool,
}

/// What a lease holds of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// One, or none for what is kept of a sealed result.
    runs: u64,
    /// Of the run.
    memory_mib: u64,
    /// Memory in which its module is compiled before, at the same time as nothing else of it.
    compiling_mib: u64,
    storage_mib: u64,
    /// What its outputs and checkpoints may take of that; the rest lies in the caches.
    output_mib: u64,
    /// What its compiled module may take of that.
    code_mib: u64,
    gpu_memory_mib: u64,
}

/// How many bytes each cache may take, beside runs and sealed results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheBytes {
    /// Of compiled modules.
    pub(crate) compiled: u64,
    /// Of modules and inputs.
    pub(crate) blobs: u64,
}

/// A lease for more than this machine's operator allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this node's operator allows {allowed} {what}, and it would take {needed}")]
pub(crate) struct NotAllowed {
    what: &'static str,
    allowed: u64,
    needed: u64,
}

impl Room {
    /// What a lease holds until its run starts: of memory what compiling the module takes, where that is more than the run's.
    pub(crate) fn of(lease: &Lease) -> Self {
        let inputs = lease.inputs.iter();
        // A size that is no number fails the lease when it is fetched.
        let inputs = inputs.filter_map(|input| input.size.parse::<u64>().ok());
        let inputs: u64 = inputs
            .map(|bytes| bytes.div_ceil(MIB))
            .fold(0, u64::saturating_add);
        let reserve_mib = u64::from(lease.reserve_mib);
        let checkpoints_mib = CHECKPOINTS_MIB.min(reserve_mib);
        let of_module =
            (reserve_mib - checkpoints_mib) * COMPILED_OF_RESERVE.0 / COMPILED_OF_RESERVE.1;
        Self {
            runs: 1,
            memory_mib: lease.limits.memory_mib.into(),
            compiling_mib: lease.compile_mib.into(),
            storage_mib: inputs
                .saturating_add(lease.limits.output_mib.into())
                .saturating_add(reserve_mib),
            output_mib: u64::from(lease.limits.output_mib).saturating_add(checkpoints_mib),
            code_mib: match lease.code_mib {
                0 => of_module,
                measured => measured.into(),
            },
            gpu_memory_mib: lease.gpu.as_ref().map_or(0, |need| need.memory_mib.into()),
        }
    }

    /// What is kept of a sealed result.
    pub(crate) fn sealed(storage_mib: u64) -> Self {
        Self {
            storage_mib,
            output_mib: storage_mib,
            ..Self::default()
        }
    }

    /// What it holds from the start of its run on: nothing more for compiling.
    pub(crate) fn started(self) -> Self {
        Self {
            compiling_mib: 0,
            ..self
        }
    }

    /// Memory in which the module is compiled, in MiB.
    pub(crate) fn memory_mib(self) -> u64 {
        self.memory_mib.max(self.compiling_mib)
    }
}

impl Allowance {
    /// The lower of what the machine offers and what its operator allows.
    pub(crate) fn of(profile: &NodeProfile, caps: &NodeCaps) -> Self {
        let least = |offered: u32, cap: Option<u32>| offered.min(cap.unwrap_or(u32::MAX));
        let gpu = profile.gpu.as_ref().map_or(0, |gpu| gpu.memory_mib);
        Self {
            // A run takes one core.
            runs: least(profile.slots, caps.runs).min(least(profile.cpu_cores, caps.cpu_cores)),
            memory_mib: least(profile.memory_mib, caps.memory_mib).into(),
            storage_mib: least(profile.storage_mib, caps.storage_mib).into(),
            gpu_memory_mib: least(gpu, caps.gpu_memory_mib).into(),
            one_memory: profile.gpu.as_ref().is_some_and(|gpu| gpu.software),
        }
    }

    /// What is taken of the machine's memory.
    fn memory_of(&self, room: Room) -> u64 {
        let of_gpu = if self.one_memory {
            room.gpu_memory_mib
        } else {
            0
        };
        let of_run = room.memory_mib.saturating_add(of_gpu);
        of_run.max(room.compiling_mib)
    }

    /// What runs and sealed results leave to the caches: compiled modules get most of what a run has in reserve for its own, and a part of
    /// what nobody needs.
    pub(crate) fn caches(&self, all: impl Iterator<Item = Room>) -> CacheBytes {
        let (mut reserved, mut storage, mut outputs) = (0_u64, 0_u64, 0_u64);
        for room in all {
            reserved = reserved.saturating_add(room.code_mib);
            storage = storage.saturating_add(room.storage_mib);
            outputs = outputs.saturating_add(room.output_mib);
        }
        let free = self.storage_mib.saturating_sub(storage);
        let compiled = (free / COMPILED_PART + reserved).saturating_mul(MIB);
        let compiled = compiled.min(CACHE_BYTES_MAX);
        let left = self.storage_mib.saturating_sub(outputs).saturating_mul(MIB);
        CacheBytes {
            compiled,
            blobs: left.saturating_sub(compiled),
        }
    }

    /// Whether a lease may run beside what `others` take.
    pub(crate) fn check(
        &self,
        lease: &Lease,
        others: impl Iterator<Item = Room>,
    ) -> Result<(), NotAllowed> {
        let own = Room::of(lease);
        let (mut all, mut memory_mib) = (own, self.memory_of(own));
        for other in others {
            all.runs += other.runs;
            memory_mib = memory_mib.saturating_add(self.memory_of(other));
            all.storage_mib = all.storage_mib.saturating_add(other.storage_mib);
            all.gpu_memory_mib = all.gpu_memory_mib.saturating_add(other.gpu_memory_mib);
        }
        let rows = [
            ("runs at once", self.runs.into(), all.runs),
            ("MiB of memory", self.memory_mib, memory_mib),
            ("MiB of storage", self.storage_mib, all.storage_mib),
            (
                "MiB of the GPU's memory",
                self.gpu_memory_mib,
                all.gpu_memory_mib,
            ),
        ];
        let over = rows
            .into_iter()
            .find(|(_, allowed, needed)| needed > allowed);
        over.map_or(Ok(()), |(what, allowed, needed)| {
            Err(NotAllowed {
                what,
                allowed,
                needed,
            })
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    pub(crate) fn profile() -> NodeProfile {
        serde_json::from_value(json!({
            "name": "n", "cpu_cores": 8, "memory_mib": 1_000, "storage_mib": 1_000, "slots": 4, "runtime": "det/1",
            "gpu": {"adapter": "a", "class": "c", "memory_mib": 1_000, "features": [], "software": true},
        }))
        .unwrap()
    }

    pub(crate) fn lease(memory_mib: u32, output_mib: u32, gpu_mib: Option<u32>) -> Lease {
        let digest = "00".repeat(32);
        serde_json::from_value(json!({
            "assignment": "A", "task": "T", "task_type": "training", "module": {"digest": digest, "size": "1"}, "compile_mib": 0,
            "params": "{}", "seed": "1", "inputs": [{"name": "i", "digest": digest, "size": "1"}],
            "limits": {"fuel": "1", "memory_mib": memory_mib, "runtime_s": 1, "output_mib": output_mib},
            "gpu": gpu_mib.map(|memory_mib| json!({"memory_mib": memory_mib, "features": []})),
            "lease_ms": 1, "accept_ms": 1, "reveal_ms": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_lease_holds_what_compiling_takes_until_its_run_starts() {
        let mut small = lease(300, 1, None);
        let held = |lease: &Lease| {
            let leased = Room::of(lease);
            (leased.memory_mib(), leased.started().memory_mib())
        };
        assert_eq!(held(&small), (300, 300));
        small.compile_mib = 299;
        assert_eq!(held(&small), (300, 300), "the run takes more");
        small.compile_mib = 301;
        assert_eq!(held(&small), (301, 300));
        // Whether it may enter goes by what it holds first.
        let allowance = Allowance::of(&profile(), &NodeCaps::default());
        small.compile_mib = 1_000;
        assert_eq!(allowance.check(&small, std::iter::empty()), Ok(()));
        small.compile_mib = 1_001;
        let over = allowance.check(&small, std::iter::empty());
        assert_eq!(over.unwrap_err().what, "MiB of memory");
    }

    #[test]
    fn caches_get_what_runs_and_sealed_results_leave() {
        let allowance = Allowance::of(&profile(), &NodeCaps::default());
        let caches = |rooms: &[Room]| {
            let bytes = allowance.caches(rooms.iter().copied());
            let compiled = bytes.compiled / MIB;
            (compiled, bytes.compiled / MIB + bytes.blobs / MIB)
        };
        assert_eq!(caches(&[]), (250, 1_000));
        // 100 MiB of outputs, and 65 of the input and of what is in reserve: 24 of that are for checkpoints, and of the rest three quarters for
        // compiled code.
        let run = Room::of(&lease(1, 100, None));
        assert_eq!(caches(&[run]), (835 / 4 + 30, 876));
        assert_eq!(caches(&[run, Room::sealed(300)]), (535 / 4 + 30, 576));
        let full = [run, Room::sealed(835)];
        assert_eq!(caches(&full), (30, 41), "what the run has for both");
        // A large module: 18 MiB, 101 of compiled form, and the checkpoints.
        let mut large = lease(1, 100, None);
        (large.reserve_mib, large.code_mib) = (143, 101);
        let large = [Room::of(&large), Room::sealed(756)];
        assert_eq!(caches(&large), (101, 120));
        // One that is mostly notes for a debugger: 60 MiB, 5 of compiled form.
        let mut noted = lease(1, 100, None);
        (noted.reserve_mib, noted.code_mib) = (89, 5);
        let noted = [Room::of(&noted), Room::sealed(810)];
        assert_eq!(caches(&noted), (5, 66), "and the module has the rest");
        assert_eq!(caches(&[Room::sealed(2_000)]), (0, 0));
        let mut large = profile();
        large.storage_mib = 100_000;
        let large = Allowance::of(&large, &NodeCaps::default());
        let bytes = large.caches(std::iter::empty());
        assert_eq!(bytes.compiled, CACHE_BYTES_MAX);
    }

    #[test]
    fn what_a_module_takes_of_the_storage_counts() {
        let allowance = Allowance::of(&profile(), &NodeCaps::default());
        let mut large = lease(1, 500, None);
        large.reserve_mib = 499;
        assert_eq!(allowance.check(&large, std::iter::empty()), Ok(()));
        large.reserve_mib = 500;
        let over = allowance.check(&large, std::iter::empty()).unwrap_err();
        assert_eq!((over.what, over.needed), ("MiB of storage", 1_001));
    }

    #[test]
    fn a_software_gpus_memory_is_the_machines() {
        let mut profile = profile();
        let over = |profile: &NodeProfile, lease: &Lease| {
            let beside = Room::of(&self::lease(200, 1, Some(300)));
            let allowance = Allowance::of(profile, &NodeCaps::default());
            let checked = allowance.check(lease, std::iter::once(beside));
            checked.map_err(|why| (why.what, why.needed))
        };
        assert_eq!(over(&profile, &lease(250, 1, Some(250))), Ok(()));
        let too_much = lease(251, 1, Some(250));
        assert_eq!(over(&profile, &too_much), Err(("MiB of memory", 1_001)));
        let plain = lease(501, 1, None);
        assert_eq!(over(&profile, &plain), Err(("MiB of memory", 1_001)));
        // A module is compiled before its run takes either.
        let mut compiled = lease(100, 1, Some(300));
        for (compile_mib, expected) in [(500, Ok(())), (501, Err(("MiB of memory", 1_001)))] {
            compiled.compile_mib = compile_mib;
            assert_eq!(over(&profile, &compiled), expected);
        }
        profile.gpu.as_mut().unwrap().software = false;
        assert_eq!(over(&profile, &too_much), Ok(()));
    }

    #[test]
    fn nothing_passes_what_the_operator_allows() {
        let caps = NodeCaps {
            cpu_cores: Some(2),
            memory_mib: Some(500),
            gpu_memory_mib: Some(300),
            storage_mib: Some(2_000),
            runs: Some(3),
        };
        let mut profile = profile();
        profile.gpu.as_mut().unwrap().software = false;
        let allowance = Allowance::of(&profile, &caps);
        assert_eq!(allowance.runs, 2, "two cores are two runs");
        let one = || std::iter::once(Room::of(&lease(300, 100, None)));
        let check = |lease: Lease, beside: bool| {
            let others: Vec<Room> = if beside { one().collect() } else { Vec::new() };
            allowance
                .check(&lease, others.into_iter())
                .map_err(|e| e.what)
        };
        assert_eq!(check(lease(500, 935, Some(300)), false), Ok(()));
        assert_eq!(check(lease(501, 1, None), false), Err("MiB of memory"));
        assert_eq!(check(lease(1, 936, None), false), Err("MiB of storage"));
        assert_eq!(
            check(lease(1, 1, Some(301)), false),
            Err("MiB of the GPU's memory")
        );
        assert_eq!(check(lease(200, 1, None), true), Ok(()));
        assert_eq!(check(lease(201, 1, None), true), Err("MiB of memory"));
        let on_gpu = || std::iter::once(Room::of(&lease(1, 1, Some(200))));
        assert_eq!(allowance.check(&lease(1, 1, Some(100)), on_gpu()), Ok(()));
        let over = allowance.check(&lease(1, 1, Some(101)), on_gpu());
        assert_eq!(over.unwrap_err().what, "MiB of the GPU's memory");
        let three = one().chain(one());
        let refused = allowance.check(&lease(1, 1, None), three).unwrap_err();
        assert_eq!(refused.what, "runs at once");
    }
}
