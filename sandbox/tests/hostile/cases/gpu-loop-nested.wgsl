//! what = "Loops of 2^32 iterations in loops of 2^32 iterations, in every form that loops have."
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

fn spin(n: u32) -> u32 { var i = n; while i != n - 1u { i++; } return i; }
@compute @workgroup_size(1) fn main() {
    for (var i = 0u; i != 0xffffffffu; i++) {
        var j = 0u;
        loop { out[0] += spin(j); continuing { j++; break if j == 0xffffffffu; } }
    }
}
