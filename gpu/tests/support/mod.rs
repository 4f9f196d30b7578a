//! Opening this machine's adapter from a test.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

/// Doubles `a` into `b`.
pub const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> b: array<u32>;
override factor: u32 = 2u;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&a) { b[id.x] = a[id.x] * factor; }
}";

pub mod generate;
pub mod plain;

use std::sync::Once;

use aevir_gpu::{Gpu, GpuError, GpuLimits, Session, select_driver};

/// Chooses the driver, once for the test process and before anything else reads the environment.
pub fn driver() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, value) in select_driver().env {
            // SAFETY: every test of this binary comes through here before it touches the environment, and waits.
            unsafe { std::env::set_var(name, value) };
        }
    });
}

pub fn open(limits: GpuLimits) -> Gpu {
    driver();
    Gpu::open(&limits).unwrap_or_else(|error| panic!("{error}"))
}

pub fn session(limits: GpuLimits) -> Session {
    Session::new(open(limits.clone()), limits)
}

pub fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

/// A limit's error.
pub fn limit(limit: &'static str, value: u64) -> GpuError {
    GpuError::Limit { limit, value }
}
