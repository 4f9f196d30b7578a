//! what = "A page of text that is 1,296 arc tangents of vectors once its calls are expanded: two minutes of a driver's compiler."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-call-tree'
//! value = 32768
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
var<private> v: vec4f;
var<private> w: vec4f;
fn f0() { v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); v = atan2(v, w); }
fn f1() { f0(); f0(); f0(); f0(); f0(); f0(); }
fn f2() { f1(); f1(); f1(); f1(); f1(); f1(); }
fn f3() { f2(); f2(); f2(); f2(); f2(); f2(); }
@compute @workgroup_size(1) fn main() { v = out[0]; w = out[1] + 0.5; f3(); out[2] = v; }
