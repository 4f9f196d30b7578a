//! what = "The same, ended from outside by the wall clock."
//! [dispatch]
//! buffers = [64]
//! groups = [65535, 1, 1]
//! [limits]
//! wall_ms = 1500
//! [limits.gpu]
//! loop_budget = 4294967295
//! [expect]
//! end = 'limit'
//! limit = 'wall'
//! value = 1500
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
    var x = id.x;
    for (var i = 0u; i < 4000000000u; i++) { x = x * 1664525u + 1013904223u; }
    out[0] = x;
}
