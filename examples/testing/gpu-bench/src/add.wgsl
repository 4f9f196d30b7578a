// to = from + ADDEND, word by word: one invocation handles one word.

override ADDEND: u32;

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> sum: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&source) {
        sum[id.x] = source[id.x] + ADDEND;
    }
}
