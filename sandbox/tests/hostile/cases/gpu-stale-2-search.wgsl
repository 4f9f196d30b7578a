//! what = "Looks in fresh memory for what the case before left."
//! [dispatch]
//! buffers = [67108864, 4]
//! groups = [16, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> large: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;
var<workgroup> shared_words: array<u32, 4096>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    var any = 0u;
    for (var i = id.x; i < arrayLength(&large); i += 1024u) { any |= large[i]; }
    for (var i = 0u; i < 4096u; i++) { any |= shared_words[i]; }
    atomicOr(&out[0], any);
}
