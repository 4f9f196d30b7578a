//! Functions and types of the most values: a byte of them stands for a thousand.

use wasm_encoder::{ExportKind, Function, ValType};

use super::{Core, component};

/// The most parameters, and the most results, that a function may have.
const WIDE: usize = 1_000;

/// Jumps of the most values, in so many functions of a core module.
pub(super) fn jumps(count: usize) -> Vec<u8> {
    program(with_functions(count, &wide_jumps()))
}

/// Calls of the most values, in so many functions of a component.
pub(super) fn calls(count: usize) -> Vec<u8> {
    component(&with_functions(count, &wide_calls()).finish())
}

/// Ever different function types of the most parameters.
pub(super) fn types(count: usize) -> Vec<u8> {
    let mut core = Core::new();
    for i in 0..count {
        let ty = |place: usize| {
            if place < 20 && i >> place & 1 == 1 {
                ValType::I64
            } else {
                ValType::F64
            }
        };
        core.types.ty().function((0..WIDE).map(ty), []);
    }
    program(core)
}

/// Functions that take and answer the most values.
fn with_functions(count: usize, function: &Function) -> Core {
    let mut core = Core::new();
    let wide = core.types.len();
    let values = || std::iter::repeat_n(ValType::I32, WIDE);
    core.types.ty().function(values(), values());
    for _ in 0..count {
        core.functions.function(wide);
        core.code.function(function);
    }
    core
}

/// A core module for WASI preview 1, which is judged before it is adapted and after.
fn program(mut core: Core) -> Vec<u8> {
    core.types.ty().function([], []);
    let start = core.functions.len();
    core.functions.function(core.types.len() - 1);
    let mut function = Function::new([]);
    function.instructions().end();
    core.code.function(&function);
    core.exports.export("_start", ExportKind::Func, start);
    core.finish()
}

/// Jump tables whose every target, of a byte, stands for a thousand values.
fn wide_jumps() -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for local in 0..WIDE as u32 {
        code.local_get(local);
    }
    for _ in 0..15 {
        code.i32_const(0).br_table(vec![0; 65_000], 0);
    }
    code.end();
    function
}

/// A thousand values that two bytes pass through a call, and again.
fn wide_calls() -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for local in 0..WIDE as u32 {
        code.local_get(local);
    }
    for _ in 0..1_600 {
        // The first of them, behind `run`.
        code.call(1);
    }
    code.end();
    function
}
