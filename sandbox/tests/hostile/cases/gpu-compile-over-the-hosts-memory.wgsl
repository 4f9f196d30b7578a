//! what = "A kernel that may be, whose compilation takes more memory than this host gives."
//! host_mib = 64
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [limits]
//! memory_bytes = 67108864
//! [limits.gpu]
//! memory_bytes = 16777216
//! [expect]
//! end = 'limit'
//! limit = 'host-memory'
//! value = 150994944
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
var<private> v: vec4f;
var<private> w: vec4f;
fn f0() { v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); }
fn f1() { f0(); f0(); f0(); f0(); f0(); f0(); }
fn f2() { f1(); f1(); f1(); f1(); f1(); f1(); }
@compute @workgroup_size(1) fn main() { v = out[0]; w = out[1] + 0.5; f2(); out[2] = v; }
