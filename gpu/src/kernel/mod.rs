//! WGSL in, a checked module out. Everything here runs before a driver sees anything.

mod bindings;
pub mod depth;
mod size;
mod weight;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use naga::back::pipeline_constants::process_overrides;
use naga::valid::{ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use sha2::{Digest, Sha256};

use crate::buffer::Holdings;
use crate::error::{GpuError, limit, shorten};
use crate::features::{self, Feature};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::loop_budget;
use crate::trace::Hash;

pub(crate) use bindings::{Slot, SlotKind};
pub use size::{EXPANDED_STATEMENTS_MAX, PRIVATE_BYTES_MAX, VALUE_SCALARS_MAX};

/// Override constants of one kernel.
pub const CONSTANTS_MAX: usize = 64;
/// A WGSL override constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its name, or its `@id` in decimal.
    pub name: String,
    /// Its value; converted to the constant's type.
    pub value: f64,
}

/// A compute pipeline. Handles are cheap to clone.
#[derive(Debug, Clone)]
pub struct Kernel(pub(crate) Arc<KernelInner>);

#[derive(Debug)]
pub(crate) struct KernelInner {
    pub compiled: Arc<Compiled>,
    pub holdings: Arc<Holdings>,
}

/// What the driver made of a checked module; kept by [`crate::cache::KernelCache`].
#[derive(Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub slots: Vec<Slot>,
    pub has_loops: bool,
    pub digest: Hash,
}

impl Drop for KernelInner {
    fn drop(&mut self) {
        self.holdings.kernels.fetch_sub(1, Relaxed);
    }
}

impl Kernel {
    /// How many buffers a dispatch binds.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.0.compiled.slots.len()
    }

    /// Whether the two are of one compilation.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.compiled, &other.0.compiled)
    }
}

/// A module that is safe to hand to the driver.
#[derive(Debug)]
pub(crate) struct Checked {
    pub module: Module,
    pub slots: Vec<Slot>,
    pub has_loops: bool,
}

/// A kernel as a session hands it to the driver.
#[derive(Debug)]
pub struct Instrumented {
    /// The entry point alone, bounded and instrumented.
    pub module: Module,
    /// Whether it has the loop budget's status word in group [`loop_budget::STATUS_GROUP`].
    pub has_loops: bool,
}

/// What [`crate::Session::create_kernel`] hands to the driver, for who compares the interface with the driver itself: benches,
/// tests and fuzzers. Needs no device; the limits are the portable ones.
///
/// # Errors
/// Those of [`crate::Session::create_kernel`], but for unknown features, which are `Validation` here.
pub fn instrument(
    wgsl: &str,
    entry: &str,
    constants: &[Constant],
    limits: &GpuLimits,
) -> Result<Instrumented, GpuError> {
    let features = features::find(&limits.features);
    let features = features.map_err(|error| GpuError::invalid(error.to_string()))?;
    let has = wgpu::Limits::unlimited();
    let required = features::required_limits(&features, limits.buffer_bytes, &has);
    let device = DeviceLimits::new(&required, &features, limits);
    let checked = check(wgsl, entry, constants, limits, &device, &features)?;
    Ok(Instrumented {
        module: checked.module,
        has_loops: checked.has_loops,
    })
}

/// Checks what costs nothing to check, before a source is even hashed.
pub(crate) fn check_size(
    wgsl: &str,
    constants: &[Constant],
    limits: &GpuLimits,
) -> Result<(), GpuError> {
    if wgsl.len() > limits.source_bytes as usize {
        return Err(GpuError::limit(limit::SOURCE_SIZE, limits.source_bytes));
    }
    if constants.len() > CONSTANTS_MAX {
        return Err(GpuError::limit(limit::CONSTANTS, CONSTANTS_MAX as u64));
    }
    Ok(())
}

/// Parses, validates, bounds and instruments one entry point.
pub(crate) fn check(
    wgsl: &str,
    entry: &str,
    constants: &[Constant],
    limits: &GpuLimits,
    device: &DeviceLimits,
    features: &[&Feature],
) -> Result<Checked, GpuError> {
    check_size(wgsl, constants, limits)?;
    // naga is fuzzed but not proven: a panic in it must stay the guest's problem.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        check_source(wgsl, entry, constants, limits, device, features)
    }));
    checked.unwrap_or_else(|_| Err(GpuError::invalid("the WGSL compiler failed on this kernel")))
}

fn check_source(
    wgsl: &str,
    entry: &str,
    constants: &[Constant],
    limits: &GpuLimits,
    device: &DeviceLimits,
    features: &[&Feature],
) -> Result<Checked, GpuError> {
    depth::check_source(wgsl)?;
    let module = naga::front::wgsl::parse_str(wgsl)
        .map_err(|error| GpuError::invalid(error.emit_to_string(wgsl)))?;
    check_constants(&module, constants)?;
    let info = Validator::new(ValidationFlags::all(), features::capabilities(features))
        .validate(&module)
        .map_err(|error| GpuError::invalid(error.emit_to_string(wgsl)))?;
    depth::check_module(&module)?;
    let index = find_entry(&module, entry)?;
    // Before unused globals go: they may fill gaps in the numbering.
    let slots = bindings::slots(&module, info.get_entry_point(index))?;
    let (mut module, info) = resolve(module, info, entry, constants)?;
    size::check_memory(&module, &info, device)?;
    size::check_expansion(&module, &info)?;
    naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
    let has_loops = loop_budget::insert(&mut module, limits.loop_budget);
    Ok(Checked {
        module,
        slots,
        has_loops,
    })
}

fn check_constants(module: &Module, constants: &[Constant]) -> Result<(), GpuError> {
    for constant in constants {
        if !constant.value.is_finite() {
            return Err(GpuError::invalid(format!(
                "constant `{}` is not a finite number",
                shorten(constant.name.clone())
            )));
        }
        let known = module.overrides.iter().any(|(_, item)| match item.id {
            Some(id) => id.to_string() == constant.name,
            None => item.name.as_deref() == Some(&constant.name),
        });
        if !known {
            return Err(GpuError::invalid(format!(
                "the kernel has no override constant `{}`",
                shorten(constant.name.clone())
            )));
        }
    }
    Ok(())
}

fn find_entry(module: &Module, entry: &str) -> Result<usize, GpuError> {
    let compute = |e: &naga::EntryPoint| e.stage == ShaderStage::Compute;
    let found = module
        .entry_points
        .iter()
        .position(|e| compute(e) && e.name == entry);
    found.ok_or_else(|| {
        let names = module.entry_points.iter().filter(|e| compute(e));
        let names: Vec<_> = names.map(|e| e.name.as_str()).collect();
        GpuError::invalid(format!(
            "there is no compute entry point `{}`; the module has: {}",
            shorten(entry.to_owned()),
            names.join(", ")
        ))
    })
}

/// Leaves the entry point alone in its module, with every override constant replaced by its value, so that all sizes are known.
fn resolve(
    module: Module,
    info: ModuleInfo,
    entry: &str,
    constants: &[Constant],
) -> Result<(Module, ModuleInfo), GpuError> {
    let values = constants
        .iter()
        .map(|constant| (constant.name.clone(), constant.value));
    let point = Some((ShaderStage::Compute, entry));
    let resolved = process_overrides(&module, &info, point, &values.collect())
        .map(|(module, info)| (module.into_owned(), info.into_owned()));
    resolved.map_err(|error| GpuError::invalid(format!("override constants: {error}")))
}

/// Names a kernel in the trace and in the cache: source, entry point and constants, each with its length before it.
pub(crate) fn digest(wgsl: &str, entry: &str, constants: &[Constant]) -> Hash {
    let mut constants: Vec<_> = constants.iter().collect();
    constants.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(wgsl.as_bytes());
    field(entry.as_bytes());
    for constant in constants {
        field(constant.name.as_bytes());
        field(&constant.value.to_bits().to_be_bytes());
    }
    hash.finalize().into()
}
