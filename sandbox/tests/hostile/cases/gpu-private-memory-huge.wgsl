//! what = "A megabyte of private memory for each invocation."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'private'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<private> big: array<u32, 262144>;
@compute @workgroup_size(1) fn main() { big[out[1]] = 1u; out[0] = big[out[2]]; }
