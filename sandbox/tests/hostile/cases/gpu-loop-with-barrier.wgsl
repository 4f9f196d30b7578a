//! what = "A loop that never ends, with a barrier in it that all invocations reach."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [limits.gpu]
//! loop_budget = 2000
//! [expect]
//! end = 'limit'
//! limit = 'gpu-loop-budget'
//! value = 2000
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) { loop { out[lane % 16u] += 1u; workgroupBarrier(); if false { break; } } }
