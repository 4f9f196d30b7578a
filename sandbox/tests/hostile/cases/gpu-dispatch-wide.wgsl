//! what = "A dispatch of 65,536 workgroups in one dimension."
//! [dispatch]
//! buffers = [64]
//! groups = [65536, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-workgroups-per-dimension'
//! value = 65535
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = 1u; }
