//! what = "2^13 calls once every call is expanded: minutes for a compiler."
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
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
fn f0() { out[0] += 1u; }
fn f1() { f0(); f0(); }
fn f2() { f1(); f1(); }
fn f3() { f2(); f2(); }
fn f4() { f3(); f3(); }
fn f5() { f4(); f4(); }
fn f6() { f5(); f5(); }
fn f7() { f6(); f6(); }
fn f8() { f7(); f7(); }
fn f9() { f8(); f8(); }
fn f10() { f9(); f9(); }
fn f11() { f10(); f10(); }
fn f12() { f11(); f11(); }
fn f13() { f12(); f12(); }
@compute @workgroup_size(1) fn main() { f13(); }
