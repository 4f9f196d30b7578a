//! what = "Looks, in the same process and on the same device, for what the run before left in buffers and in memory of workgroups and invocations."
//! after = "gpu-stale-1-secrets.wgsl"
//! [dispatch]
//! buffers = [67108864, 65536, 4]
//! groups = [16, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> large: array<u32>;
@group(0) @binding(1) var<storage, read_write> small: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;
var<workgroup> shared_words: array<u32, 4096>;
var<private> own: array<u32, 512>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    var local: array<u32, 512>;
    var any = 0u;
    for (var i = id.x; i < arrayLength(&large); i += 1024u) { any |= large[i]; }
    for (var i = id.x; i < arrayLength(&small); i += 1024u) { any |= small[i]; }
    for (var i = 0u; i < 4096u; i++) { any |= shared_words[i]; }
    for (var i = 0u; i < 512u; i++) { any |= own[i] | local[i]; }
    atomicOr(&out[0], any);
}
