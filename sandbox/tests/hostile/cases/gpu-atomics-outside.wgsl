//! what = "Atomic operations far outside of their array."
//! [dispatch]
//! buffers = [64, 64, 64]
//! groups = [8, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> guard: array<u32>;
@group(0) @binding(1) var<storage, read_write> own: array<atomic<u32>>;
@group(0) @binding(2) var<storage, read_write> verdict: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    for (var i = 0u; i < 32u; i++) { atomicAdd(&own[16u + (id.x << i)], 1u); atomicXor(&own[0xffffffffu - id.x], 5u); }
    storageBarrier();
    if guard[id.x % 16u] != 0u { verdict[0] = 1u; }
}
