//! what = "A loop that never ends, in a kernel without buffers, whose end nobody asks about."
//! [dispatch]
//! buffers = []
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
@compute @workgroup_size(64) fn main() { loop { if false { break; } } }
