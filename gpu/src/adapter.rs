//! Opening an adapter: hardware first, then software, and only one that computes the probes right.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::KernelCache;
use crate::driver::swiftshader_place;
use crate::encode::StatusWord;
use crate::error::{AdapterError, GpuError, shorten};
use crate::features::{self, Feature};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::pool::Pool;
use crate::probe;
use crate::speed::{self, ComputeClass};
use crate::timer::Timer;

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
    /// What can be asked for beyond the portable defaults, by name: see [`crate::features`].
    pub features: Vec<String>,
    /// Whether GPU time is metered by the device's own timestamps; otherwise it is the time in which work was outstanding.
    pub timestamps: bool,
    /// Adapters of one class give the same bits for the same work: `<name>-<16 hex>` over adapter, driver, wgpu and naga
    /// versions and the outputs of the probes.
    pub class: String,
    /// How fast it is, coarsely; unknown unless [`Gpu::measure`] was called.
    pub compute: Option<ComputeClass>,
}

/// An open adapter with a device of its own, ready for one [`crate::Session`].
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) faults: Arc<Faults>,
    pub(crate) device_limits: DeviceLimits,
    pub(crate) uniform_bytes_max: u64,
    pub(crate) features: Vec<&'static Feature>,
    /// The layout of the group that holds the loop budget's status word.
    pub(crate) status_layout: wgpu::BindGroupLayout,
    /// Kernels that were compiled on this device before.
    pub(crate) kernels: Arc<KernelCache>,
    /// Buffers that earlier runs on this device dropped.
    pub(crate) pool: Arc<Pool>,
    /// Whether it can say when work began and ended.
    pub(crate) times: bool,
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

/// Why an adapter is not used.
enum Unusable {
    /// It works, and has not all that was asked for.
    Lacks(String),
    /// It does not work.
    Refused(String),
}

impl Gpu {
    /// Opens the best adapter that computes the probes right and has what `limits` asks for.
    ///
    /// # Errors
    /// [`AdapterError::None`] where Vulkan finds nothing, [`AdapterError::UnknownFeature`] and [`AdapterError::Lacks`] where
    /// too much was asked for, [`AdapterError::Refused`] with a reason for each adapter otherwise.
    pub fn open(limits: &GpuLimits) -> Result<Self, AdapterError> {
        Self::open_class(limits, None)
    }

    /// The same of one class only: what was promised to a run is not replaced by whatever else is there.
    ///
    /// # Errors
    /// As above; an adapter of another class is refused as such.
    pub fn open_class(limits: &GpuLimits, class: Option<&str>) -> Result<Self, AdapterError> {
        limits.check()?;
        let features = features::find(&limits.features)?;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut adapters =
            ready(instance.enumerate_adapters(wgpu::Backends::VULKAN)).unwrap_or_default();
        adapters.sort_by_key(|adapter| device_type(adapter.get_info().device_type));
        let (mut lacks, mut refusals) = (Vec::new(), Vec::new());
        for adapter in adapters {
            let name = adapter.get_info().name;
            match Self::open_adapter(&adapter, features.clone(), limits) {
                Ok(gpu) if class.is_none_or(|class| class == gpu.info.class) => return Ok(gpu),
                Ok(gpu) => refusals.push(format!(
                    "{name}: it is of class {}, and the run was placed for {}",
                    gpu.info.class,
                    class.unwrap_or_default()
                )),
                Err(Unusable::Lacks(what)) => lacks.push(format!("{name} lacks {what}")),
                Err(Unusable::Refused(reason)) => refusals.push(format!("{name}: {reason}")),
            }
        }
        tracing::debug!(?lacks, ?refusals, "no adapter");
        if !lacks.is_empty() {
            return Err(AdapterError::Lacks { lacks });
        }
        if !refusals.is_empty() {
            return Err(AdapterError::Refused { refusals });
        }
        Err(AdapterError::None {
            swiftshader: swiftshader_place(),
        })
    }

    /// Who computes.
    #[must_use]
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Measures the adapter's throughput and enters its [class](crate::speed::ComputeClass) into [`Gpu::info`]. Takes a few
    /// tenths of a second, so it is for a node's start and not for every run.
    ///
    /// # Errors
    /// The GPU fails or hangs.
    pub fn measure(&mut self) -> Result<(), GpuError> {
        let speed = speed::measure(self)?;
        self.pool.clear();
        tracing::info!(adapter = self.info.name, ?speed, "adapter measured");
        self.info.compute = Some(speed.class());
        Ok(())
    }

    /// Whether the device still works. A lost one never comes back.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.faults.get().is_none()
    }

    fn open_adapter(
        adapter: &wgpu::Adapter,
        features: Vec<&'static Feature>,
        limits: &GpuLimits,
    ) -> Result<Self, Unusable> {
        let has = adapter.limits();
        let required_limits = features::required_limits(&features, limits.buffer_bytes, &has);
        let lacks = features::lacking(adapter, &features, &required_limits);
        if !lacks.is_empty() {
            return Err(Unusable::Lacks(lacks.join(" and ")));
        }
        let timer = Timer::FEATURES;
        let times = adapter.features().contains(timer);
        let mut required_features = if times {
            timer
        } else {
            wgpu::Features::empty()
        };
        for feature in &features {
            required_features |= feature.flags;
        }
        let device_limits = DeviceLimits::new(&required_limits, &features, limits);
        let uniform_bytes_max = required_limits.max_uniform_buffer_binding_size;
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("aevir"),
            required_features,
            required_limits,
            // Blocks of 8 to 64 MiB, and not of 128 and more: many processes share a card, and most runs are small.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        });
        let (device, queue) = ready(request)
            .ok_or_else(|| Unusable::Refused("the driver did not answer".into()))?
            .map_err(|error| Unusable::Refused(shorten(format!("no device: {error}"))))?;
        let faults = Arc::new(Faults::default());
        let uncaptured = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.set(error.to_string())));
        let lost = Arc::clone(&faults);
        device
            .set_device_lost_callback(move |reason, text| lost.set(format!("{reason:?}: {text}")));
        let mut gpu = Self {
            status_layout: StatusWord::layout(&device),
            kernels: Arc::default(),
            pool: Arc::default(),
            device,
            queue,
            faults,
            device_limits,
            uniform_bytes_max,
            features,
            times,
            info: identify(adapter),
        };
        gpu.info.timestamps = times;
        let outputs = probe::run(&gpu).map_err(|error| Unusable::Refused(error.to_string()))?;
        // A run begins with nothing.
        gpu.pool.clear();
        gpu.info.class = class(&gpu.info, &outputs);
        Ok(gpu)
    }
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
        features: features::available(adapter),
        timestamps: false,
        class: String::new(),
        compute: None,
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
