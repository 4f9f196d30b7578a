//! what = "Two variables at one binding."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'validation'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(0) var<storage, read_write> alias_of_out: array<f32>;
@compute @workgroup_size(1) fn main() { out[0] = u32(alias_of_out[0]); }
