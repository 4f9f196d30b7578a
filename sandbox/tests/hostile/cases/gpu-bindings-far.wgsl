//! what = "A binding numbered 2^32 - 1."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'validation'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(4294967295) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = 1u; }
