//! How much a kernel is, once it is parsed and its constants are known: memory of an invocation and a workgroup, code.

use naga::proc::TypeResolution;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AddressSpace, ArraySize, Block, Expression, Function, Handle, Module, Statement, Type,
    TypeInner,
};

use super::weight;
use crate::error::{GpuError, limit};
use crate::limits::DeviceLimits;

/// Bytes of private and function variables of one invocation, and of values that are indexed as if they were some: WGSL's own minimum
/// (section "Limits").
pub const PRIVATE_BYTES_MAX: u64 = 8192;
/// Scalars of one value: a matrix has 16, a table in the source a few hundred. Compilers take a value apart into its scalars, and their time
/// and memory grow faster than their number: SwiftShader takes eight seconds to copy an array of a thousand, and does not survive ten thousand.
/// Larger arrays are read and written by their elements.
pub const VALUE_SCALARS_MAX: u64 = 256;
/// Scalars of a value that is moved in registers: a matrix of four by four. Each scalar of a larger one weighs [`MEMORY_WEIGHT`] times as much.
const REGISTER_SCALARS_MAX: u64 = 16;
/// See [`REGISTER_SCALARS_MAX`]. SwiftShader takes 2 s and 300 MB for 8,192 scalars of arrays that are loaded and stored, 4 s and 600 MB for
/// twice as many, and dies of four times as many.
const MEMORY_WEIGHT: u64 = 4;
/// Statements, and scalars of what they compute and move, of an entry point with every call expanded, each by its weight (`weight.rs`).
/// Compilers inline all calls, so a chain of functions that each call the next twice would grow without bound. A large kernel has a few thousand.
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
    let functions = module
        .functions
        .iter()
        .map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(index, entry)| (&entry.function, info.get_entry_point(index)));
    let scalars = scalars(module);
    let private =
        functions
            .chain(entries)
            .fold(globals(AddressSpace::Private), |sum, (function, info)| {
                let locals = function
                    .local_variables
                    .iter()
                    .map(|(_, local)| size(local.ty));
                let indexed = Code::new(module, function, info, &scalars).indexed_bytes();
                locals.fold(sum.saturating_add(indexed), u64::saturating_add)
            });
    if private > PRIVATE_BYTES_MAX {
        return Err(GpuError::invalid(format!(
            "private and function variables, and values that are indexed, take {private} bytes an invocation; at most {PRIVATE_BYTES_MAX} are allowed"
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

/// Bounds the code that an entry point becomes, and the values in it.
pub(super) fn check_expansion(module: &Module, info: &ModuleInfo) -> Result<(), GpuError> {
    let scalars = scalars(module);
    let mut costs = Vec::with_capacity(module.functions.len());
    for (handle, function) in module.functions.iter() {
        let code = Code::new(module, function, &info[handle], &scalars);
        code.check_values()?;
        let cost = code.cost(&costs);
        costs.push(cost);
    }
    for (index, entry) in module.entry_points.iter().enumerate() {
        let code = Code::new(
            module,
            &entry.function,
            info.get_entry_point(index),
            &scalars,
        );
        code.check_values()?;
        if code.cost(&costs) > EXPANDED_STATEMENTS_MAX {
            return Err(GpuError::limit(limit::CALL_TREE, EXPANDED_STATEMENTS_MAX));
        }
    }
    Ok(())
}

/// How many scalars a value of each type is, in the order of the types, which come after what they are made of.
fn scalars(module: &Module) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::with_capacity(module.types.len());
    for (_, ty) in module.types.iter() {
        let scalars = scalars_of(&ty.inner, &all);
        all.push(scalars);
    }
    all
}

fn scalars_of(inner: &TypeInner, of: &[u64]) -> u64 {
    let known = |handle: Handle<Type>| of.get(handle.index()).copied().unwrap_or(u64::MAX);
    match *inner {
        TypeInner::Vector { size, .. } => u64::from(size as u8),
        TypeInner::Matrix { columns, rows, .. } => u64::from(columns as u8) * u64::from(rows as u8),
        TypeInner::Array {
            base,
            size: ArraySize::Constant(size),
            ..
        } => known(base).saturating_mul(size.get().into()),
        TypeInner::Struct { ref members, .. } => members
            .iter()
            .fold(0, |sum: u64, member| sum.saturating_add(known(member.ty))),
        // Pointers and scalars; an array without a length is never a value.
        _ => 1,
    }
}

/// A function whose code is weighed.
struct Code<'a> {
    module: &'a Module,
    function: &'a Function,
    info: &'a FunctionInfo,
    scalars: &'a [u64],
}

impl<'a> Code<'a> {
    fn new(
        module: &'a Module,
        function: &'a Function,
        info: &'a FunctionInfo,
        scalars: &'a [u64],
    ) -> Self {
        Self {
            module,
            function,
            info,
            scalars,
        }
    }

    /// What an expression's value costs a compiler.
    fn weight(&self, expression: Handle<Expression>) -> u64 {
        match self.scalars(expression) {
            scalars if scalars > REGISTER_SCALARS_MAX => scalars.saturating_mul(MEMORY_WEIGHT),
            scalars => scalars,
        }
    }

    /// What an emitted expression costs: its value, and what its kind weighs beside.
    fn emitted(&self, handle: Handle<Expression>) -> u64 {
        let kind = match self.function.expressions[handle] {
            Expression::Load { pointer } => self.access(pointer),
            Expression::Binary { op, left, .. } => {
                let operand = self.info[left].ty.inner_with(&self.module.types);
                let each = operand
                    .scalar_kind()
                    .map_or(0, |kind| weight::binary(op, kind));
                each.saturating_mul(self.scalars(handle))
            }
            // Packing makes one scalar of several.
            Expression::Math { fun, arg, .. } => {
                weight::math(fun).saturating_mul(self.scalars(handle).max(self.scalars(arg)))
            }
            _ => 0,
        };
        self.weight(handle).saturating_add(kind)
    }

    /// What it weighs to reach memory through a pointer.
    fn access(&self, pointer: Handle<Expression>) -> u64 {
        let inner = self.info[pointer].ty.inner_with(&self.module.types);
        let Some(space) = inner.pointer_space() else {
            return 0;
        };
        let (mut at, mut indexed) = (pointer, false);
        loop {
            match self.function.expressions[at] {
                Expression::Access { base, .. } => (at, indexed) = (base, true),
                Expression::AccessIndex { base, .. } => at = base,
                _ => return weight::access(space, indexed),
            }
        }
    }

    /// Scalars of an expression's value.
    fn scalars(&self, expression: Handle<Expression>) -> u64 {
        match &self.info[expression].ty {
            TypeResolution::Handle(ty) => self.scalars.get(ty.index()).copied().unwrap_or(u64::MAX),
            TypeResolution::Value(inner) => scalars_of(inner, self.scalars),
        }
    }

    /// Refuses a value that no compiler should be given. What a variable begins as, where that is zero, is no value that is moved.
    fn check_values(&self) -> Result<(), GpuError> {
        let beginnings = self.function.local_variables.iter();
        let beginnings: Vec<_> = beginnings.filter_map(|(_, local)| local.init).collect();
        let is_zero = |handle, expression: &Expression| {
            matches!(expression, Expression::ZeroValue(_)) && beginnings.contains(&handle)
        };
        let too_large = self
            .function
            .expressions
            .iter()
            .any(|(handle, expression)| {
                self.scalars(handle) > VALUE_SCALARS_MAX && !is_zero(handle, expression)
            });
        match too_large {
            true => Err(GpuError::limit(limit::VALUE, VALUE_SCALARS_MAX)),
            false => Ok(()),
        }
    }

    /// Scalars that the function computes or moves, with calls expanded.
    fn cost(&self, functions: &[u64]) -> u64 {
        let constants = self.function.expressions.iter();
        let constants = constants.filter(|(_, expression)| {
            matches!(
                expression,
                Expression::Constant(_) | Expression::Compose { .. }
            )
        });
        let constants = constants.fold(0, |sum: u64, (handle, _)| {
            sum.saturating_add(self.weight(handle))
        });
        constants.saturating_add(self.cost_of(&self.function.body, functions))
    }

    fn cost_of(&self, block: &Block, functions: &[u64]) -> u64 {
        let sum = |weights: &mut dyn Iterator<Item = u64>| weights.fold(0, u64::saturating_add);
        let branch = |body: &Block| match body.is_empty() {
            true => 0,
            false => weight::BRANCH.saturating_add(self.cost_of(body, functions)),
        };
        block.iter().fold(0u64, |total, statement| {
            let inner = match statement {
                Statement::Block(body) => self.cost_of(body, functions),
                Statement::If { accept, reject, .. } => {
                    branch(accept).saturating_add(branch(reject))
                }
                Statement::Switch { cases, .. } => sum(&mut cases
                    .iter()
                    .map(|case| weight::CASE.saturating_add(self.cost_of(&case.body, functions)))),
                Statement::Loop {
                    body, continuing, ..
                } => weight::LOOP
                    .saturating_add(self.cost_of(body, functions))
                    .saturating_add(self.cost_of(continuing, functions)),
                Statement::Call {
                    function,
                    arguments,
                    ..
                } => functions
                    .get(function.index())
                    .copied()
                    .unwrap_or(u64::MAX)
                    .saturating_add(sum(&mut arguments.iter().map(|each| self.weight(*each)))),
                Statement::Emit(range) => sum(&mut range.clone().map(|each| self.emitted(each))),
                Statement::Store { pointer, value } => {
                    self.weight(*value).saturating_add(self.access(*pointer))
                }
                Statement::Atomic { .. } => weight::ATOMIC,
                Statement::WorkGroupUniformLoad { .. }
                | Statement::SubgroupBallot { .. }
                | Statement::SubgroupGather { .. }
                | Statement::SubgroupCollectiveOperation { .. } => weight::TOGETHER,
                Statement::Return { value: Some(value) } => self.weight(*value),
                _ => 0,
            };
            total.saturating_add(inner).saturating_add(1)
        })
    }

    /// Bytes of the values that are indexed by a number which is not known: a compiler must keep each in memory.
    fn indexed_bytes(&self) -> u64 {
        let bases =
            self.function
                .expressions
                .iter()
                .filter_map(|(_, expression)| match expression {
                    Expression::Access { base, .. } => Some(*base),
                    _ => None,
                });
        let mut bases: Vec<_> = bases.collect();
        bases.sort_unstable();
        bases.dedup();
        let bytes = |base: Handle<Expression>| {
            let inner = self.info[base].ty.inner_with(&self.module.types);
            match inner.pointer_space() {
                Some(_) => 0,
                None => inner
                    .try_size(self.module.to_ctx())
                    .map_or(u64::MAX, u64::from),
            }
        };
        bases
            .into_iter()
            .fold(0, |sum: u64, base| sum.saturating_add(bytes(base)))
    }
}
