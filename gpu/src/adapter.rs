//! Opening an adapter: hardware first, then software, and only one that computes the probes right.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::driver::swiftshader_place;
use crate::error::{AdapterError, shorten};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::probe;

/// The version of wgpu that this build uses; part of an adapter's class, because it decides the code that a driver sees.
pub const WGPU_VERSION: &str = "30.0.1";
/// The version of naga, for the same reason.
pub const NAGA_VERSION: &str = "30.0.1";
/// Hex digits of the class's hash.
const CLASS_DIGITS: usize = 16;

/// What kind of device an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceType {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU handed into a virtual machine.
    Virtual,
    /// Something the driver does not name.
    Other,
    /// Software.
    Cpu,
}

/// An adapter's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// The driver's name for the device.
    pub name: String,
    /// PCI vendor id.
    pub vendor: u32,
    /// PCI device id.
    pub device: u32,
    /// The driver.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// Hardware or software.
    pub device_type: DeviceType,
    /// Always `vulkan`.
    pub backend: String,
    /// Bytes of device-local memory, as the driver reports them; 0 if it does not.
    pub memory_bytes: u64,
    /// Largest buffer that can be asked for, in bytes.
    pub buffer_bytes_max: u64,
    /// Optional features that can be asked for, by their WebGPU names.
    pub features: Vec<String>,
    /// Adapters of one class give the same bits for the same work: `<name>-<16 hex>` over adapter, driver, wgpu and naga
    /// versions and the outputs of the probes.
    pub class: String,
}

/// An open adapter with a device of its own, ready for one [`crate::Session`].
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) faults: Arc<Faults>,
    pub(crate) device_limits: DeviceLimits,
    pub(crate) uniform_bytes_max: u64,
    pub(crate) features: Vec<&'static str>,
    info: AdapterInfo,
}

/// Errors that wgpu reports outside of any scope.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Option<String>>);

impl Faults {
    fn set(&self, text: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| shorten(text));
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The optional features that a task may ask for: WebGPU's name, wgpu's flag.
pub(crate) const FEATURES: [(&str, wgpu::Features); 2] = [
    ("shader-f16", wgpu::Features::SHADER_F16),
    ("subgroups", wgpu::Features::SUBGROUP),
];

impl Gpu {
    /// Opens the best adapter that computes the probes right and has what `limits` asks for.
    ///
    /// # Errors
    /// [`AdapterError::None`] where Vulkan finds nothing, [`AdapterError::Refused`] with a reason for each adapter otherwise.
    pub fn open(limits: &GpuLimits) -> Result<Self, AdapterError> {
        limits.check()?;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut adapters =
            ready(instance.enumerate_adapters(wgpu::Backends::VULKAN)).unwrap_or_default();
        adapters.sort_by_key(|adapter| device_type(adapter.get_info().device_type));
        let mut refusals = Vec::new();
        for adapter in adapters {
            match Self::open_adapter(&adapter, limits) {
                Ok(gpu) => return Ok(gpu),
                Err(reason) => {
                    let name = adapter.get_info().name;
                    tracing::debug!(adapter = name, reason, "adapter refused");
                    refusals.push(format!("{name}: {reason}"));
                }
            }
        }
        if refusals.is_empty() {
            return Err(AdapterError::None {
                swiftshader: swiftshader_place(),
            });
        }
        Err(AdapterError::Refused { refusals })
    }

    /// Who computes.
    #[must_use]
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    fn open_adapter(adapter: &wgpu::Adapter, limits: &GpuLimits) -> Result<Self, String> {
        let (required_limits, device_limits) = required_limits(&adapter.limits(), limits)?;
        let mut features = Vec::new();
        let mut required_features = wgpu::Features::empty();
        for asked in &limits.features {
            let Some((name, flag)) = FEATURES.iter().find(|(name, _)| name == asked) else {
                return Err(format!("there is no feature `{}`", shorten(asked.clone())));
            };
            if !adapter.features().contains(*flag) {
                return Err(format!("it lacks the feature `{name}`"));
            }
            required_features |= *flag;
            features.push(*name);
        }
        let uniform_bytes_max = required_limits.max_uniform_buffer_binding_size;
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("aevir"),
            required_features,
            required_limits,
            ..Default::default()
        });
        let (device, queue) = ready(request)
            .ok_or("the driver did not answer")?
            .map_err(|error| shorten(format!("no device: {error}")))?;
        let faults = Arc::new(Faults::default());
        let uncaptured = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.set(error.to_string())));
        let lost = Arc::clone(&faults);
        device
            .set_device_lost_callback(move |reason, text| lost.set(format!("{reason:?}: {text}")));
        let mut gpu = Self {
            device,
            queue,
            faults,
            device_limits,
            uniform_bytes_max,
            features,
            info: identify(adapter),
        };
        let outputs = probe::run(&gpu).map_err(|error| error.to_string())?;
        gpu.info.class = class(&gpu.info, &outputs);
        Ok(gpu)
    }
}

/// WebGPU's portable defaults, with larger buffers where the task asked for them and one more storage buffer for the loop
/// budget's status.
fn required_limits(
    available: &wgpu::Limits,
    asked: &GpuLimits,
) -> Result<(wgpu::Limits, DeviceLimits), String> {
    let mut required = wgpu::Limits::defaults();
    required.max_storage_buffers_per_shader_stage = (required.max_storage_buffers_per_shader_stage
        + 1)
    .min(available.max_storage_buffers_per_shader_stage);
    required.max_storage_buffer_binding_size = required
        .max_storage_buffer_binding_size
        .max(asked.buffer_bytes);
    required.max_buffer_size = required.max_buffer_size.max(asked.buffer_bytes);
    if !required.check_limits(available) {
        let mut missing = Vec::new();
        required.check_limits_with_fail_fn(available, false, |name, wanted, has| {
            missing.push(format!("{name} {has} where {wanted} is needed"));
        });
        return Err(missing.join(", "));
    }
    let device = DeviceLimits {
        max_buffer_size: asked.buffer_bytes,
        max_storage_buffers_per_kernel: required
            .max_storage_buffers_per_shader_stage
            .saturating_sub(1),
        max_workgroup_size_x: required.max_compute_workgroup_size_x,
        max_workgroup_size_y: required.max_compute_workgroup_size_y,
        max_workgroup_size_z: required.max_compute_workgroup_size_z,
        max_invocations_per_workgroup: required.max_compute_invocations_per_workgroup,
        max_workgroups_per_dimension: required.max_compute_workgroups_per_dimension,
        max_workgroup_storage_size: required.max_compute_workgroup_storage_size,
    };
    Ok((required, device))
}

fn identify(adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let limits = adapter.limits();
    AdapterInfo {
        name: info.name,
        vendor: info.vendor,
        device: info.device,
        driver: info.driver,
        driver_info: info.driver_info,
        device_type: device_type(info.device_type),
        backend: "vulkan".into(),
        memory_bytes: device_memory(adapter).unwrap_or(0),
        buffer_bytes_max: limits
            .max_buffer_size
            .min(limits.max_storage_buffer_binding_size),
        features: FEATURES
            .iter()
            .filter(|(_, flag)| adapter.features().contains(*flag))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        class: String::new(),
    }
}

/// The sum of the device-local heaps, which wgpu itself does not report.
fn device_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    // SAFETY: the raw handles are only read, and do not outlive the guard.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: the physical device belongs to this very instance.
    let memory =
        unsafe { instance.get_physical_device_memory_properties(hal.raw_physical_device()) };
    let heaps = memory
        .memory_heaps
        .iter()
        .take(memory.memory_heap_count as usize);
    Some(
        heaps
            .filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0)
            .map(|heap| heap.size)
            .sum(),
    )
}

fn class(info: &AdapterInfo, probe_outputs: &[u8]) -> String {
    let mut hash = Sha256::new();
    let fields = [
        info.name.as_bytes(),
        &info.vendor.to_be_bytes(),
        &info.device.to_be_bytes(),
        info.driver.as_bytes(),
        info.driver_info.as_bytes(),
        WGPU_VERSION.as_bytes(),
        NAGA_VERSION.as_bytes(),
        probe_outputs,
    ];
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let word = info
        .name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| !word.is_empty())
        .unwrap_or("gpu")
        .to_ascii_lowercase();
    let digits = &hex::encode(hash.finalize())[..CLASS_DIGITS];
    format!("{word}-{digits}")
}

fn device_type(device_type: wgpu::DeviceType) -> DeviceType {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceType::Discrete,
        wgpu::DeviceType::IntegratedGpu => DeviceType::Integrated,
        wgpu::DeviceType::VirtualGpu => DeviceType::Virtual,
        wgpu::DeviceType::Cpu => DeviceType::Cpu,
        wgpu::DeviceType::Other => DeviceType::Other,
    }
}

/// Takes the result of a future that wgpu's native backends finish at once.
pub(crate) fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_versions_in_the_class_are_the_ones_built_with() {
        let lock =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        for (name, version) in [("wgpu", WGPU_VERSION), ("naga", NAGA_VERSION)] {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(
                lock.contains(&entry),
                "{name} is not {version}: update the constant"
            );
        }
    }
}
