//! what = "Memory of every kind that was never written: all of it must be zero."
//! [dispatch]
//! buffers = [4, 67108864, 256, 4]
//! groups = [16, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read> small: array<u32>;
@group(0) @binding(1) var<storage, read> large: array<u32>;
@group(0) @binding(2) var<uniform> even: array<vec4u, 16>;
@group(0) @binding(3) var<storage, read_write> verdict: array<atomic<u32>>;
var<workgroup> shared_words: array<u32, 4096>;
var<private> private_words: array<u32, 512>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
    var local_words: array<u32, 512>;
    var any = 0u;
    for (var i = 0u; i < 4096u; i++) { any |= shared_words[i]; }
    for (var i = 0u; i < 512u; i++) { any |= private_words[i] | local_words[i]; }
    for (var i = id.x; i < arrayLength(&large); i += 1024u) { any |= large[i]; }
    any |= small[id.x % arrayLength(&small)] | even[lane % 16u].w;
    atomicOr(&verdict[0], any);
}
