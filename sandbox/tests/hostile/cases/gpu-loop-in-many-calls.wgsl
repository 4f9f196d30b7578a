//! what = "Short loops in functions, called so often that no single loop is long."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [limits.gpu]
//! loop_budget = 5000
//! [expect]
//! end = 'limit'
//! limit = 'gpu-loop-budget'
//! value = 5000
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

fn f0() { for (var i = 0u; i < 50u; i++) { out[i % 16u] += i; } }
fn f1() { f0(); f0(); f0(); f0(); f0(); f0(); f0(); f0(); f0(); f0(); }
fn f2() { f1(); f1(); f1(); f1(); f1(); f1(); f1(); f1(); f1(); f1(); }
@compute @workgroup_size(1) fn main() { f2(); f2(); }
