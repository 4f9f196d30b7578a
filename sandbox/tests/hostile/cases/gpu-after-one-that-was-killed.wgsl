//! what = "The run after one whose process was killed in the middle of its kernel: another process, and a GPU that computes right."
//! after = "gpu-outlasts-the-run.wgsl"
//! [dispatch]
//! buffers = [256, 256]
//! words = [1, 2, 3, 4]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"0000000a"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    for (var i = id.x; i < arrayLength(&words); i += 64u) { atomicAdd(&out[0], words[i]); }
}
