//! Types generated from `schemas/wit`, so that their shape can't drift from the interface. The functions are registered by
//! hand in the modules beside this one: they need the store, for its fuel.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    unused,
    clippy::all,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    path: "../schemas/wit",
    world: "aevir:task/task",
    with: {
        "aevir:task/context.input": crate::host::context::Input,
        "aevir:task/context.output": crate::host::context::Output,
        "aevir:task/compute.buffer": aevir_gpu::Buffer,
        "aevir:task/compute.kernel": aevir_gpu::Kernel,
        "aevir:task/compute.batch": crate::host::compute::Batch,
    },
});

pub(crate) use aevir::task::{compute, context};
