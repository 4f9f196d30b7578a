//! what = "A dispatch of 2^48 workgroups."
//! [dispatch]
//! buffers = [64]
//! groups = [65535, 65535, 65535]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-workgroups'
//! value = 16777216
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = 1u; }
