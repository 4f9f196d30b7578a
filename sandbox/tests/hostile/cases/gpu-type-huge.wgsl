//! what = "An array type of 2^64 bytes."
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
struct S { a: array<array<array<array<u32, 65536>, 65536>, 65536>, 65536> }
var<private> s: S;
@compute @workgroup_size(1) fn main() { out[0] = s.a[0][0][0][0]; }
