//! what = "Fewer buffers than the kernel binds."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'binds 2 buffers'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read_write> more: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = more[0]; }
