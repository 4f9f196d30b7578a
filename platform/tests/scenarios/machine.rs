//! The machine that most scenarios' nodes run on.

use std::collections::BTreeMap;

use aevir_platform::command::{GpuConfinement, GpuProfile, NodeConfinement, NodeProfile, Wall};

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
