//! What this machine has to offer, measured at the start.

use std::{collections::BTreeMap, thread::available_parallelism};

use aevir_gpu::{AdapterInfo, GpuLimits};
use aevir_sandbox::{Applied, Confinement, Executor, Profile, Role};
use aevir_wire::{GpuConfinement, GpuProfile, NodeConfinement, NodeProfile, Wall};

use crate::{
    config::{GpuOffer, NodeConfig},
    error::NodeError,
    memory::offered_memory_mib,
    probe,
    retry::full,
};

const MIB: u64 = 1024 * 1024;
/// The label that says how fast the GPU is: `c` and a power of four, see `aevir_gpu::speed`. A task that lists it among the
/// labels it wants gets nodes of this class.
const COMPUTE_LABEL: &str = "gpu-compute";
/// Labels that a platform takes of a node.
const LABELS_MAX: usize = 64;

/// Measures the machine. The GPU is opened and probed in an executor process.
///
/// # Errors
/// When a GPU is to be offered and there is none that computes right.
pub(crate) async fn measure(
    config: &NodeConfig,
    executor: &Executor,
) -> Result<NodeProfile, NodeError> {
    let gpu = match config.gpu {
        GpuOffer::Off => None,
        GpuOffer::Required => Some(probe_gpu(executor).await?),
        GpuOffer::Auto => probe_gpu(executor)
            .await
            .inspect_err(|error| tracing::warn!(%error, "the node takes tasks without GPU only"))
            .ok(),
    };
    let mut labels = config.labels.clone();
    if let Some(class) = gpu.as_ref().and_then(|info| info.compute) {
        add_compute(&mut labels, &class.to_string());
    }
    let confinement = confinement(executor, gpu.is_some()).await?;
    let cores = available_parallelism().map_or(1, usize::from);
    let memory_mib = config.memory_mib.unwrap_or_else(offered_memory_mib);
    Ok(NodeProfile {
        name: config.name.clone(),
        cpu_cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_mib,
        storage_mib: config.storage_mib,
        slots: config.slots,
        gpu: gpu.map(|info| profile(info, memory_mib)),
        runtime: Profile::Deterministic.name().to_owned(),
        cpu_mfuel_s: Some(cpu_speed(config, executor).await?),
        labels,
        confinement: Some(confinement),
    })
}

/// Adds the label of the GPU's class. The operator's word, where there is one, stands, and so do the operator's labels where there is no
/// room for another: a node with one too many would be refused.
fn add_compute(labels: &mut BTreeMap<String, String>, class: &str) {
    if labels.len() >= LABELS_MAX && !labels.contains_key(COMPUTE_LABEL) {
        tracing::warn!(
            "there is no room for the label `{COMPUTE_LABEL}` beside {LABELS_MAX} others"
        );
        return;
    }
    let label = labels.entry(COMPUTE_LABEL.to_owned());
    label.or_insert_with(|| class.to_owned());
}

/// How fast runs are here. A node on which the probe does not run takes no work.
async fn cpu_speed(config: &NodeConfig, executor: &Executor) -> Result<u32, NodeError> {
    let measured = probe::cpu_mfuel_s(executor, &config.data_dir).await;
    let speed = measured.map_err(|e| NodeError::Probe(full(&e)))?;
    tracing::info!(cpu_mfuel_s = speed, "the CPU was measured");
    Ok(speed)
}

/// What executors say of themselves: one without a GPU and, on a node that offers one, one with it, which can reach a driver. A node whose
/// executors do not start takes no work.
async fn confinement(executor: &Executor, with_gpu: bool) -> Result<NodeConfinement, NodeError> {
    let cpu = started(executor, Role::Cpu).await?;
    let gpu = match with_gpu {
        true => Some(started(executor, Role::Gpu).await?),
        false => None,
    };
    Ok(NodeConfinement {
        seccomp: wall(&cpu.seccomp),
        landlock: wall(&cpu.landlock),
        capabilities: Some(wall(&cpu.capabilities)),
        resource_limits: Some(resource_limits(&cpu)),
        pooled: Some(cpu.pooled),
        gpu: gpu.map(|gpu| GpuConfinement {
            seccomp: wall(&gpu.seccomp),
            landlock: wall(&gpu.landlock),
            capabilities: wall(&gpu.capabilities),
            resource_limits: resource_limits(&gpu),
        }),
    })
}

async fn started(executor: &Executor, role: Role) -> Result<Confinement, NodeError> {
    let started = executor.try_start(role).await;
    Ok(started.map_err(NodeError::Executor)?.confinement)
}

fn wall(applied: &Applied) -> Wall {
    match applied {
        Applied::Full => Wall::Full,
        Applied::Partly => Wall::Partly,
        Applied::Not(_) => Wall::None,
    }
}

fn resource_limits(confinement: &Confinement) -> Wall {
    match (
        confinement.has_resource_limits(),
        confinement.resource_limits.is_empty(),
    ) {
        (true, _) => Wall::Full,
        (false, false) => Wall::Partly,
        (false, true) => Wall::None,
    }
}

async fn probe_gpu(executor: &Executor) -> Result<AdapterInfo, NodeError> {
    let probed = executor.probe_gpu(&GpuLimits::default()).await;
    probed.map_err(|e| NodeError::Gpu(e.to_string()))
}

/// A GPU on a machine that offers so much memory.
fn profile(info: AdapterInfo, machine_mib: u32) -> GpuProfile {
    let software = info.device_type == aevir_gpu::adapter::DeviceType::Cpu;
    // A software GPU's memory is the machine's, and taken from what this offers; some drivers don't say how much there is.
    let memory_mib = u32::try_from(info.memory_bytes / MIB).unwrap_or(u32::MAX);
    let memory_mib = match (memory_mib, software) {
        (_, true) | (0, false) => machine_mib,
        (known, false) => known,
    };
    GpuProfile {
        adapter: info.name,
        class: info.class,
        memory_mib,
        buffer_mib: Some(u32::try_from(info.buffer_bytes_max / MIB).unwrap_or(u32::MAX)),
        features: info.features,
        software,
        compute: info.compute.map(|class| class.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_labels_come_before_the_gpus() {
        let full: BTreeMap<_, _> = (0..LABELS_MAX)
            .map(|n| (format!("l{n}"), "x".to_owned()))
            .collect();
        let mut labels = full.clone();
        add_compute(&mut labels, "c5");
        assert_eq!(labels, full);
        labels.pop_first();
        add_compute(&mut labels, "c5");
        assert_eq!(labels[COMPUTE_LABEL], "c5");
        add_compute(&mut labels, "c6");
        assert_eq!(labels[COMPUTE_LABEL], "c5", "what is said stands");
    }
}
