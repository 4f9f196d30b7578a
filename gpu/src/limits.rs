//! What one run may use of a GPU: defaults, ceilings, and what a kernel author may count on.

use serde::{Deserialize, Serialize};

use crate::features::{Feature, LARGE_BUFFER_BYTES};

const MIB: u64 = 1024 * 1024;

/// Hard ceilings. No configuration goes above them.
pub mod ceiling {
    use super::MIB;
    /// 1 TiB: more than the memory of any single card, and as much as a task may ask for.
    pub const MEMORY_BYTES: u64 = 1024 * 1024 * MIB;
    /// 4 GiB less one word: WGSL indexes bytes with 32 bits.
    pub const BUFFER_BYTES: u64 = 4096 * MIB - 4;
    /// Objects alive at once; each costs the host a few hundred bytes and the driver more.
    pub const BUFFERS: u32 = 65_536;
    /// Pipelines alive at once; each may take the driver a megabyte.
    pub const KERNELS: u32 = 4_096;
    /// 1 MiB of WGSL: generated kernels stay far below.
    pub const SOURCE_BYTES: u32 = 1024 * 1024;
    /// Iterations that all loops of one invocation may make together. A counter is 32 bits wide.
    pub const LOOP_BUDGET: u32 = u32::MAX;
    /// 2^32 workgroups in one dispatch.
    pub const WORKGROUPS_PER_DISPATCH: u64 = 1 << 32;
    /// Dispatches and copies of one batch; they are held in memory until it is submitted.
    pub const COMMANDS_PER_BATCH: u32 = 65_536;
    /// Dispatches and copies of one run.
    pub const COMMANDS: u64 = 1 << 40;
    /// One hour in one wait.
    pub const WAIT_MS: u64 = 3_600_000;
    /// One day of GPU time in one run, as long as a run may last.
    pub const TIME_MS: u64 = 86_400_000;
}

/// What one run may use. Every field has a default that suits small models on any GPU, and a ceiling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpuLimits {
    /// Bytes of all live buffers together. Drivers over-commit, so the budget is kept here.
    pub memory_bytes: u64,
    /// Bytes of one buffer. Above 128 MiB (WebGPU's default binding size) the adapter must support it; the feature
    /// `large-buffers` raises it to [`crate::features::LARGE_BUFFER_BYTES`] where it is lower.
    pub buffer_bytes: u64,
    /// Live buffers.
    pub buffers: u32,
    /// Live kernels.
    pub kernels: u32,
    /// Bytes of WGSL in one kernel.
    pub source_bytes: u32,
    /// Iterations that all loops of one invocation may make together in one dispatch.
    pub loop_budget: u32,
    /// Workgroups (x * y * z) of one dispatch.
    pub workgroups_per_dispatch: u64,
    /// Dispatches and copies of one batch.
    pub commands_per_batch: u32,
    /// Dispatches and copies of the whole run.
    pub commands: u64,
    /// Milliseconds that one wait for the GPU may take.
    pub wait_ms: u64,
    /// Milliseconds of GPU time of the whole run, as [`crate::Usage::time_ns`] counts it; checked after every wait.
    pub time_ms: u64,
    /// What to ask for beyond the portable defaults, by name: see [`crate::features`].
    pub features: Vec<String>,
}

impl Default for GpuLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 * MIB,
            buffer_bytes: 128 * MIB,
            buffers: 1_024,
            kernels: 256,
            source_bytes: 128 * 1024,
            loop_budget: 1 << 24,
            workgroups_per_dispatch: 1 << 24,
            commands_per_batch: 4_096,
            commands: 10_000_000,
            wait_ms: 60_000,
            time_ms: 600_000,
            features: Vec::new(),
        }
    }
}

/// A limit was set above its ceiling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gpu limit `{field}` is {value}; at most {ceiling} is allowed")]
pub struct LimitTooHigh {
    /// The field of [`GpuLimits`].
    pub field: &'static str,
    /// What was asked for.
    pub value: u64,
    /// What is allowed.
    pub ceiling: u64,
}

impl GpuLimits {
    /// Checks every field against its ceiling.
    ///
    /// # Errors
    /// Names the first field that is too high.
    pub fn check(&self) -> Result<(), LimitTooHigh> {
        let rows = [
            ("memory_bytes", self.memory_bytes, ceiling::MEMORY_BYTES),
            ("buffer_bytes", self.buffer_bytes, ceiling::BUFFER_BYTES),
            ("buffers", self.buffers.into(), ceiling::BUFFERS.into()),
            ("kernels", self.kernels.into(), ceiling::KERNELS.into()),
            (
                "source_bytes",
                self.source_bytes.into(),
                ceiling::SOURCE_BYTES.into(),
            ),
            (
                "loop_budget",
                self.loop_budget.into(),
                ceiling::LOOP_BUDGET.into(),
            ),
            (
                "workgroups_per_dispatch",
                self.workgroups_per_dispatch,
                ceiling::WORKGROUPS_PER_DISPATCH,
            ),
            (
                "commands_per_batch",
                self.commands_per_batch.into(),
                ceiling::COMMANDS_PER_BATCH.into(),
            ),
            ("commands", self.commands, ceiling::COMMANDS),
            ("wait_ms", self.wait_ms, ceiling::WAIT_MS),
            ("time_ms", self.time_ms, ceiling::TIME_MS),
        ];
        match rows.into_iter().find(|(_, value, max)| value > max) {
            Some((field, value, ceiling)) => Err(LimitTooHigh {
                field,
                value,
                ceiling,
            }),
            None => Ok(()),
        }
    }
}

/// What a kernel may count on in this run (WebGPU's names).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimits {
    /// Bytes of one buffer, and of one binding.
    pub max_buffer_size: u64,
    /// Storage buffers that one kernel may bind.
    pub max_storage_buffers_per_kernel: u32,
    /// `@workgroup_size`, first number.
    pub max_workgroup_size_x: u32,
    /// `@workgroup_size`, second number.
    pub max_workgroup_size_y: u32,
    /// `@workgroup_size`, third number.
    pub max_workgroup_size_z: u32,
    /// Product of the three.
    pub max_invocations_per_workgroup: u32,
    /// Each of the three numbers of a dispatch.
    pub max_workgroups_per_dimension: u32,
    /// Bytes of `var<workgroup>` memory of one kernel.
    pub max_workgroup_storage_size: u32,
}

impl DeviceLimits {
    /// What is left for kernels of what a device was opened with.
    pub(crate) fn new(opened: &wgpu::Limits, features: &[&Feature], asked: &GpuLimits) -> Self {
        let large = features
            .iter()
            .any(|feature| feature.name == "large-buffers");
        Self {
            max_buffer_size: match large {
                true => asked.buffer_bytes.max(LARGE_BUFFER_BYTES),
                false => asked.buffer_bytes,
            },
            // One is the loop budget's.
            max_storage_buffers_per_kernel: opened
                .max_storage_buffers_per_shader_stage
                .saturating_sub(1),
            max_workgroup_size_x: opened.max_compute_workgroup_size_x,
            max_workgroup_size_y: opened.max_compute_workgroup_size_y,
            max_workgroup_size_z: opened.max_compute_workgroup_size_z,
            max_invocations_per_workgroup: opened.max_compute_invocations_per_workgroup,
            max_workgroups_per_dimension: opened.max_compute_workgroups_per_dimension,
            max_workgroup_storage_size: opened.max_compute_workgroup_storage_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_the_ceilings() {
        assert_eq!(GpuLimits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_above_its_ceiling_is_named() {
        let limits = GpuLimits {
            kernels: ceiling::KERNELS + 1,
            ..GpuLimits::default()
        };
        let field = limits.check().map_err(|error| error.field);
        assert_eq!(field, Err("kernels"));
    }
}
