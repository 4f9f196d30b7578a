//! what = "Half precision without having asked for it."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'f16'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
enable f16;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = u32(f16(out[1])); }
