//! what = "A barrier under a condition that comes out of memory, different for each invocation."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'contained'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) { out[lane % 16u] = lane; if out[lane % 16u] > 7u { storageBarrier(); } }
