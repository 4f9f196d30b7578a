//! what = "216 loops, in which values live that are needed after all of them."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'ok'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
var<private> v: vec4f;
var<private> w: vec4f;
fn f0() { for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } for (var i = 0u; i < u32(w.x); i++) { v = v.yzwx + w; } }
fn f1() { f0(); f0(); f0(); f0(); f0(); f0(); }
fn f2() { f1(); f1(); f1(); f1(); f1(); f1(); }
@compute @workgroup_size(1) fn main() { v = out[0]; w = out[1] + 0.5; f2(); out[2] = v; }
