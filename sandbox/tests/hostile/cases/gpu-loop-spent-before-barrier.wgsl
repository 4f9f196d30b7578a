//! what = "One invocation spends its budget alone, while the others wait for it at a barrier."
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

@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
    for (var round = 0u; round < 4u; round++) {
        if lane == 7u { loop { if out[0] == 77u { break; } } }
        workgroupBarrier();
    }
    out[0] = lane;
}
