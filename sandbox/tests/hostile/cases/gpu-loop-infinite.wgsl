//! what = "A loop that never ends."
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
@compute @workgroup_size(1) fn main() { loop { out[0]++; if out[1] == 1u { break; } } }
