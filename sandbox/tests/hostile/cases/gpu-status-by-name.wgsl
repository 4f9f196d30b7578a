//! what = "Variables named as the loop budget's own."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [limits.gpu]
//! loop_budget = 100000
//! [expect]
//! end = 'limit'
//! limit = 'gpu-loop-budget'
//! value = 100000
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<private> aevir_loop_budget: u32;
@compute @workgroup_size(1) fn main() { aevir_loop_budget = 4000000000u; loop { aevir_loop_budget = 4000000000u; if out[1] == 1u { break; } } }
