//! what = "Leaves a pattern everywhere, for the next case to look for."
//! [dispatch]
//! buffers = [67108864, 65536, 4]
//! groups = [16, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"deadbeef"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> large: array<u32>;
@group(0) @binding(1) var<storage, read_write> small: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
var<workgroup> shared_words: array<u32, 4096>;
var<private> own: array<u32, 512>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
    var local: array<u32, 512>;
    for (var i = id.x; i < arrayLength(&large); i += 1024u) { large[i] = 0xdeadbeefu; }
    for (var i = id.x; i < arrayLength(&small); i += 1024u) { small[i] = 0xdeadbeefu; }
    for (var i = lane; i < 4096u; i += 64u) { shared_words[i] = 0xdeadbeefu; }
    for (var i = 0u; i < 512u; i++) { own[i] = 0xdeadbeefu; local[i] = 0xdeadbeefu; }
    workgroupBarrier();
    out[0] = shared_words[4095u - lane] & own[lane] & local[511u - lane];
}
