//! WGSL in, a checked module out. Everything here runs before a driver sees anything.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Block, Module, ShaderStage, Statement, StorageAccess};
use sha2::{Digest, Sha256};

use crate::buffer::Holdings;
use crate::error::{GpuError, shorten};
use crate::limits::{DeviceLimits, GpuLimits};
use crate::loop_budget;
use crate::trace::Hash;

/// Override constants of one kernel.
pub const CONSTANTS_MAX: usize = 64;
/// Bytes of private and function variables of one invocation: WGSL's own minimum (section "Limits").
pub const PRIVATE_BYTES_MAX: u64 = 8192;
/// Statements of an entry point with every call expanded. Compilers inline all calls, so a chain of functions that each call
/// the next twice would grow without bound.
pub const EXPANDED_STATEMENTS_MAX: u64 = 1_000_000;

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
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub slots: Vec<Slot>,
    pub has_loops: bool,
    pub digest: Hash,
    pub holdings: Arc<Holdings>,
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
        self.0.slots.len()
    }
}

/// What a binding of group 0 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// Declared but not used by the entry point: takes any buffer.
    Unused,
    Uniform,
    StorageRead,
    StorageReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub kind: SlotKind,
    /// The least bytes that the variable's type needs.
    pub min_bytes: u64,
}

/// A module that is safe to hand to the driver.
#[derive(Debug)]
pub(crate) struct Checked {
    pub module: Module,
    pub slots: Vec<Slot>,
    pub has_loops: bool,
    pub digest: Hash,
}

/// Parses, validates, bounds and instruments one entry point.
pub(crate) fn check(
    wgsl: &str,
    entry: &str,
    constants: &[Constant],
    limits: &GpuLimits,
    device: &DeviceLimits,
    features: &[&str],
) -> Result<Checked, GpuError> {
    if wgsl.len() > limits.source_bytes as usize {
        return Err(GpuError::Limit("source-size"));
    }
    if constants.len() > CONSTANTS_MAX {
        return Err(GpuError::Limit("constants"));
    }
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
    features: &[&str],
) -> Result<Checked, GpuError> {
    let module = naga::front::wgsl::parse_str(wgsl)
        .map_err(|error| GpuError::invalid(error.emit_to_string(wgsl)))?;
    check_constants(&module, constants)?;
    let info = Validator::new(ValidationFlags::all(), capabilities(features))
        .validate(&module)
        .map_err(|error| GpuError::invalid(error.emit_to_string(wgsl)))?;
    let index = find_entry(&module, entry)?;
    // Before unused globals go: they may fill gaps in the numbering.
    let slots = slots(&module, info.get_entry_point(index))?;
    let (mut module, info) = resolve(module, info, entry, constants)?;
    check_memory(&module, &info, device)?;
    check_expansion(&module)?;
    naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
    let has_loops = loop_budget::insert(&mut module, limits.loop_budget);
    Ok(Checked {
        module,
        slots,
        has_loops,
        digest: digest(wgsl, entry, constants),
    })
}

fn capabilities(features: &[&str]) -> Capabilities {
    features
        .iter()
        .map(|feature| match *feature {
            "shader-f16" => Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32,
            "subgroups" => Capabilities::SUBGROUP,
            _ => Capabilities::empty(),
        })
        .fold(Capabilities::empty(), |all, one| all | one)
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

/// The bindings of group 0, by number.
fn slots(module: &Module, uses: &FunctionInfo) -> Result<Vec<Slot>, GpuError> {
    let mut used = BTreeMap::new();
    let mut declared = Vec::new();
    for (handle, global) in module.global_variables.iter() {
        let name = || global.name.clone().unwrap_or_default();
        let is_used = !uses[handle].is_empty();
        let Some(binding) = &global.binding else {
            let private = matches!(
                global.space,
                AddressSpace::Private | AddressSpace::WorkGroup
            );
            if is_used && !private {
                return Err(GpuError::invalid(format!(
                    "`{}` is of no supported address space",
                    name()
                )));
            }
            continue;
        };
        if binding.group != 0 {
            return Err(GpuError::invalid(format!(
                "`{}` is in group {}; only group 0 is bound",
                name(),
                binding.group
            )));
        }
        declared.push(binding.binding);
        if !is_used {
            continue;
        }
        let kind = match global.space {
            AddressSpace::Uniform => SlotKind::Uniform,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                SlotKind::StorageReadWrite
            }
            AddressSpace::Storage { .. } => SlotKind::StorageRead,
            _ => {
                return Err(GpuError::invalid(format!(
                    "`{}` is neither a storage nor a uniform buffer",
                    name()
                )));
            }
        };
        let size = module.types[global.ty].inner.try_size(module.to_ctx());
        let size = size
            .ok_or_else(|| GpuError::invalid(format!("the type of `{}` is too large", name())))?;
        let min_bytes = u64::from(size);
        used.insert(binding.binding, Slot { kind, min_bytes });
    }
    let count = used
        .last_key_value()
        .map_or(0, |(last, _)| last.saturating_add(1));
    (0..count)
        .map(|number| match used.get(&number) {
            Some(slot) => Ok(*slot),
            None if declared.contains(&number) => Ok(Slot {
                kind: SlotKind::Unused,
                min_bytes: 0,
            }),
            None => Err(GpuError::invalid(format!(
                "bindings must be numbered from 0 without gaps; {number} is missing"
            ))),
        })
        .collect()
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

/// Sums the variables of an invocation (over all functions left) and of a workgroup.
fn check_memory(module: &Module, info: &ModuleInfo, device: &DeviceLimits) -> Result<(), GpuError> {
    let size = |ty| {
        module.types[ty]
            .inner
            .try_size(module.to_ctx())
            .map_or(u64::MAX, u64::from)
    };
    let uses = info.get_entry_point(0);
    let globals = |space| {
        let used = module
            .global_variables
            .iter()
            .filter(move |(handle, global)| global.space == space && !uses[*handle].is_empty());
        used.fold(0u64, |sum, (_, global)| sum.saturating_add(size(global.ty)))
    };
    let functions = module.functions.iter().map(|(_, function)| function);
    let functions = functions.chain(module.entry_points.iter().map(|entry| &entry.function));
    let locals = functions.flat_map(|function| function.local_variables.iter());
    let private = locals.fold(globals(AddressSpace::Private), |sum, (_, local)| {
        sum.saturating_add(size(local.ty))
    });
    if private > PRIVATE_BYTES_MAX {
        return Err(GpuError::invalid(format!(
            "private and function variables take {private} bytes an invocation; at most {PRIVATE_BYTES_MAX} are allowed"
        )));
    }
    let (workgroup, max) = (
        globals(AddressSpace::WorkGroup),
        device.max_workgroup_storage_size,
    );
    if workgroup > max.into() {
        return Err(GpuError::invalid(format!(
            "workgroup variables take {workgroup} bytes; at most {max} are allowed"
        )));
    }
    Ok(())
}

fn check_expansion(module: &Module) -> Result<(), GpuError> {
    let mut costs = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        let cost = cost(&function.body, &costs);
        costs.push(cost);
    }
    let entries = module.entry_points.iter();
    if entries
        .map(|entry| cost(&entry.function.body, &costs))
        .any(|cost| cost > EXPANDED_STATEMENTS_MAX)
    {
        return Err(GpuError::Limit("call-tree"));
    }
    Ok(())
}

/// Statements of `block` with calls expanded. Emitted expressions count, because they are the code.
fn cost(block: &Block, functions: &[u64]) -> u64 {
    block.iter().fold(0u64, |sum, statement| {
        let inner = match statement {
            Statement::Block(body) => cost(body, functions),
            Statement::If { accept, reject, .. } => {
                cost(accept, functions).saturating_add(cost(reject, functions))
            }
            Statement::Switch { cases, .. } => cases.iter().fold(0, |sum: u64, case| {
                sum.saturating_add(cost(&case.body, functions))
            }),
            Statement::Loop {
                body, continuing, ..
            } => cost(body, functions).saturating_add(cost(continuing, functions)),
            Statement::Call { function, .. } => {
                functions.get(function.index()).copied().unwrap_or(u64::MAX)
            }
            Statement::Emit(range) => range.clone().count() as u64,
            _ => 0,
        };
        sum.saturating_add(inner).saturating_add(1)
    })
}

/// Names a kernel in the trace: source, entry point and constants, each with its length before it.
fn digest(wgsl: &str, entry: &str, constants: &[Constant]) -> Hash {
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
