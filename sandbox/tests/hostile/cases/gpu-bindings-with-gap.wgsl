//! what = "Bindings that leave a number out."
//! [dispatch]
//! buffers = [64, 64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'without gaps'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(5) var<storage, read_write> far: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = far[0]; }
