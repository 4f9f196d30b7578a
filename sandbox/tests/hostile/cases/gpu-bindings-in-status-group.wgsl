//! what = "A binding in the group of the loop budget's own status."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'only group 0'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(1) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { for (var i = 0u; i < 9u; i++) { out[0] = 0u; } }
