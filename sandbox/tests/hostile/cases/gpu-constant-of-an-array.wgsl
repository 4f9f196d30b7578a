//! what = "A constant that is made of 50 million zeroes before it is refused."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'validation'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 1280
const x = -array<i32, 50000000>();
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = 1u; }
