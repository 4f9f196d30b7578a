//! what = "A workgroup whose size is an expression that overflows."
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
const n = 0x7fffffff;
@compute @workgroup_size(n, n, n) fn main() { out[0] = 1u; }
