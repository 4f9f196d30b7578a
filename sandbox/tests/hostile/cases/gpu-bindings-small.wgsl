//! what = "A buffer that is smaller than its type."
//! [dispatch]
//! buffers = [4]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'at least 4096 bytes'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
struct Big { a: array<u32, 1024> }
@group(0) @binding(0) var<storage, read_write> out: Big;
@compute @workgroup_size(1) fn main() { out.a[1023] = 1u; }
