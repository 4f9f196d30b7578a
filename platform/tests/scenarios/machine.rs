//! The machine that most scenarios' nodes run on.

use std::collections::BTreeMap;

use aevir_platform::{
    amount::Count,
    command::{
        COMPILE_MIB_MIN, Command, GpuConfinement, GpuProfile, NodeConfinement, NodeProfile,
        RegisterModule, Wall, World as ModuleWorld,
    },
    digest::Digest,
    report::{Artifact, BlobRef},
    state::Task,
};
use serde_json::{Value, json};

pub fn profile(name: &str) -> NodeProfile {
    NodeProfile {
        name: name.into(),
        cpu_cores: 2,
        memory_mib: 1_024,
        storage_mib: 10_240,
        slots: 1,
        gpu: Some(GpuProfile {
            adapter: "software".into(),
            class: "class-a".into(),
            memory_mib: 1_024,
            buffer_mib: Some(1_024),
            features: vec![],
            software: true,
            compute: Some(3),
        }),
        runtime: "det/1".into(),
        cpu_mfuel_s: Some(2_000),
        labels: BTreeMap::new(),
        confinement: Some(NodeConfinement {
            seccomp: Wall::Full,
            landlock: Wall::Partly,
            capabilities: Some(Wall::Full),
            resource_limits: Some(Wall::Full),
            pooled: Some(true),
            gpu: Some(GpuConfinement {
                seccomp: Wall::Full,
                landlock: Wall::Partly,
                capabilities: Wall::Full,
                resource_limits: Wall::None,
            }),
        }),
    }
}

/// What a run brings beside its result: a copy of it, but for a comparison, which brings its word alone.
pub fn outputs(task: &Task, result: &[u8]) -> Vec<Artifact> {
    let output = Artifact {
        name: "out".into(),
        digest: Digest::of(result),
        size: Count(result.len() as u64),
    };
    let kept = Some(output).filter(|_| task.compares().is_none());
    kept.into_iter().collect()
}

impl super::World {
    /// What [`World::push_check`](Self::push_check) registers.
    pub fn check_module() -> Digest {
        Digest::of(b"check module")
    }

    /// Registers a comparator for the requester; answers its digest.
    pub fn push_comparator(&mut self) -> Digest {
        let digest = Digest::of(b"comparator");
        if self.state.modules.contains_key(&digest) {
            return digest;
        }
        let size = Count(10);
        self.ok(Command::RegisterModule(RegisterModule {
            owner: self.requester,
            name: "near".into(),
            blob: BlobRef { digest, size },
            world: ModuleWorld::Comparator,
            imports: vec![],
            compile_mib: COMPILE_MIB_MIN,
            code_mib: 1,
        }));
        digest
    }

    /// A method that asks for verifiers, by some numbers.
    pub fn inspection(n: u32) -> Option<Value> {
        let verifiers = json!({"count": 3, "quorum": 2, "fee": "0"});
        let check = json!({"module": Self::check_module().to_string(), "verifiers": verifiers});
        match n % 10 {
            5 => Some(json!({"method": "attestation", "verifiers": verifiers})),
            7 => Some(json!({"method": "check", "module": check})),
            _ => None,
        }
    }

    /// Registers a check module for the requester.
    pub fn push_check(&mut self) {
        self.ok(Command::RegisterModule(RegisterModule {
            owner: self.requester,
            name: "finite".into(),
            blob: BlobRef {
                digest: Self::check_module(),
                size: Count(12),
            },
            world: ModuleWorld::Check,
            imports: vec![],
            compile_mib: COMPILE_MIB_MIN,
            code_mib: 1,
        }));
    }
}
