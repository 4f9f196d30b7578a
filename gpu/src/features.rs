//! What a task may ask for beyond the portable defaults, by name.
//!
//! Without asking, a kernel gets WebGPU's default limits, which every WebGPU adapter has. A name in
//! [`crate::GpuLimits::features`] adds a WebGPU feature (`shader-f16`, `subgroups`) or one step of larger limits. The steps
//! are few and fixed on purpose: a name is either in a node's profile or it is not, so that the scheduler can match it, and a
//! task that runs on one node that has it runs on all of them.

use naga::valid::Capabilities;

use crate::error::AdapterError;

const MIB: u64 = 1024 * 1024;
/// Bytes of one buffer and one binding with `large-buffers`: 1 GiB, which every GPU driver in use reaches; the next step, 2 GiB
/// less one, is where signed 32-bit offsets in drivers begin to fail.
pub const LARGE_BUFFER_BYTES: u64 = 1024 * MIB;
/// Invocations of a workgroup with `large-workgroups`: the most that common hardware has.
pub const LARGE_WORKGROUP_INVOCATIONS: u32 = 1024;
/// Bytes of workgroup memory with `large-workgroups`: 32 KiB, which all desktop hardware has.
pub const LARGE_WORKGROUP_STORAGE_BYTES: u32 = 32 * 1024;
/// Storage buffers of a kernel with `many-buffers`; one more is kept for the loop budget's status.
pub const MANY_STORAGE_BUFFERS: u32 = 16;

/// One thing that can be asked for.
#[derive(Debug)]
pub(crate) struct Feature {
    /// Its name: WebGPU's own, or one of ours for a step of limits.
    pub name: &'static str,
    /// wgpu's flags.
    pub flags: wgpu::Features,
    /// What the validator may let pass.
    pub capabilities: Capabilities,
    /// Raises what it raises.
    pub raise: fn(&mut wgpu::Limits),
}

/// All of them.
pub(crate) const FEATURES: [Feature; 5] = [
    Feature {
        name: "shader-f16",
        flags: wgpu::Features::SHADER_F16,
        capabilities: Capabilities::SHADER_FLOAT16,
        raise: |_| (),
    },
    Feature {
        name: "subgroups",
        flags: wgpu::Features::SUBGROUP,
        capabilities: Capabilities::SUBGROUP,
        raise: |_| (),
    },
    Feature {
        name: "large-buffers",
        flags: wgpu::Features::empty(),
        capabilities: Capabilities::empty(),
        raise: |limits| {
            limits.max_buffer_size = limits.max_buffer_size.max(LARGE_BUFFER_BYTES);
            limits.max_storage_buffer_binding_size = limits
                .max_storage_buffer_binding_size
                .max(LARGE_BUFFER_BYTES);
        },
    },
    Feature {
        name: "large-workgroups",
        flags: wgpu::Features::empty(),
        capabilities: Capabilities::empty(),
        raise: |limits| {
            limits.max_compute_invocations_per_workgroup = LARGE_WORKGROUP_INVOCATIONS;
            limits.max_compute_workgroup_size_x = LARGE_WORKGROUP_INVOCATIONS;
            limits.max_compute_workgroup_size_y = LARGE_WORKGROUP_INVOCATIONS;
            limits.max_compute_workgroup_storage_size = LARGE_WORKGROUP_STORAGE_BYTES;
        },
    },
    Feature {
        name: "many-buffers",
        flags: wgpu::Features::empty(),
        capabilities: Capabilities::empty(),
        raise: |limits| limits.max_storage_buffers_per_shader_stage = MANY_STORAGE_BUFFERS,
    },
];

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    FEATURES.iter().map(|feature| feature.name)
}

/// The features behind names that a task gave.
pub(crate) fn find(names: &[String]) -> Result<Vec<&'static Feature>, AdapterError> {
    names
        .iter()
        .map(|name| {
            let found = FEATURES.iter().find(|feature| feature.name == name);
            found.ok_or_else(|| AdapterError::UnknownFeature {
                name: crate::error::shorten(name.clone()),
                known: self::names().collect(),
            })
        })
        .collect()
}

/// WebGPU's portable defaults with everything that `features` and `buffer_bytes` raise, and one more storage buffer for the
/// loop budget's status. (An adapter that `has` no more than the default eight keeps one of them for it.)
pub(crate) fn required_limits(
    features: &[&Feature],
    buffer_bytes: u64,
    has: &wgpu::Limits,
) -> wgpu::Limits {
    let mut limits = wgpu::Limits::defaults();
    let portable = limits.max_storage_buffers_per_shader_stage;
    limits.max_storage_buffer_binding_size =
        limits.max_storage_buffer_binding_size.max(buffer_bytes);
    limits.max_buffer_size = limits.max_buffer_size.max(buffer_bytes);
    for feature in features {
        (feature.raise)(&mut limits);
    }
    let buffers = &mut limits.max_storage_buffers_per_shader_stage;
    *buffers = match *buffers == portable {
        true => (portable + 1).min(has.max_storage_buffers_per_shader_stage),
        false => *buffers + 1,
    };
    limits
}

/// What of `features` an adapter lacks, and which of the limits that they need: empty if nothing.
pub(crate) fn lacking(
    adapter: &wgpu::Adapter,
    features: &[&Feature],
    required: &wgpu::Limits,
) -> Vec<String> {
    let missing = features
        .iter()
        .filter(|feature| !adapter.features().contains(feature.flags))
        .map(|feature| format!("the feature `{}`", feature.name));
    let mut lacks: Vec<_> = missing.collect();
    required.check_limits_with_fail_fn(&adapter.limits(), false, |name, wanted, has| {
        lacks.push(format!("{name} of {wanted} (it has {has})"));
    });
    lacks
}

/// The names of everything that an adapter has.
pub(crate) fn available(adapter: &wgpu::Adapter) -> Vec<String> {
    FEATURES
        .iter()
        .filter(|feature| {
            let required = required_limits(&[feature], 0, &adapter.limits());
            lacking(adapter, &[feature], &required).is_empty()
        })
        .map(|feature| feature.name.to_owned())
        .collect()
}

/// What the validator lets pass for granted features. Packing and unpacking of `f16` in `u32` is core WGSL and needs none.
pub(crate) fn capabilities(features: &[&Feature]) -> Capabilities {
    features
        .iter()
        .map(|feature| feature.capabilities)
        .fold(Capabilities::SHADER_FLOAT16_IN_FLOAT32, |all, one| {
            all | one
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = find(&["subgroups".into(), "time-travel".into()]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("time-travel") && text.contains("large-buffers"),
            "{text}"
        );
    }

    #[test]
    fn every_feature_asks_for_more_than_the_defaults() {
        let has = wgpu::Limits::unlimited();
        let portable = required_limits(&[], 0, &has);
        for feature in &FEATURES {
            let raised = required_limits(&[feature], 0, &has);
            assert!(
                raised != portable || !feature.flags.is_empty(),
                "{} asks for nothing",
                feature.name
            );
            assert!(portable.check_limits(&raised), "{} lowers", feature.name);
        }
    }
}
