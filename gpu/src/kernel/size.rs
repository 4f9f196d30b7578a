//! How much a kernel is, once it is parsed and its constants are known: memory of an invocation and a workgroup, code.

use naga::valid::ModuleInfo;
use naga::{AddressSpace, Block, Module, Statement};

use crate::error::{GpuError, limit};
use crate::limits::DeviceLimits;

/// Bytes of private and function variables of one invocation: WGSL's own minimum (section "Limits").
pub const PRIVATE_BYTES_MAX: u64 = 8192;
/// Statements and expressions of an entry point with every call expanded. Compilers inline all calls, so a chain of functions
/// that each call the next twice would grow without bound. A large kernel has a few thousand; SwiftShader takes fifteen seconds
/// for twelve thousand.
pub const EXPANDED_STATEMENTS_MAX: u64 = 32_768;

/// Sums the variables of an invocation (over all functions left) and of a workgroup.
pub(super) fn check_memory(
    module: &Module,
    info: &ModuleInfo,
    device: &DeviceLimits,
) -> Result<(), GpuError> {
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

pub(super) fn check_expansion(module: &Module) -> Result<(), GpuError> {
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
        return Err(GpuError::limit(limit::CALL_TREE, EXPANDED_STATEMENTS_MAX));
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
