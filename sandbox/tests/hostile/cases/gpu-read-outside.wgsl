//! what = "Reads far outside of arrays in every address space: what comes back must be zero or of the array itself."
//! [dispatch]
//! buffers = [64, 64, 64, 64, 64]
//! words = [17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
struct Small { a: u32, b: array<u32, 4> }
@group(0) @binding(0) var<storage, read> given: array<u32>;
@group(0) @binding(1) var<uniform> even: array<vec4u, 4>;
@group(0) @binding(2) var<storage, read_write> guard: array<u32>;
@group(0) @binding(3) var<storage, read_write> own: array<u32>;
@group(0) @binding(4) var<storage, read_write> verdict: array<u32>;
var<workgroup> shared_words: array<u32, 16>;
var<private> private_words: array<u32, 16>;

@compute @workgroup_size(1) fn main() {
    var local_words: array<u32, 16>;
    var small: Small;
    for (var i = 0u; i < 16u; i++) { own[i] = 0x11u; shared_words[i] = 0x11u; private_words[i] = 0x11u; local_words[i] = 0x11u; }
    small.b = array<u32, 4>(0x11u, 0x11u, 0x11u, 0x11u);
    guard[0] = 0x22u;

    for (var i = 0u; i < 40u; i++) {
        // 16, 17, 19, 23, ... 2^31 + 15, and some that overflow when they are multiplied by four.
        let at = 15u + (1u << (i % 32u)) + select(0u, 0x3ffffff0u, i >= 32u);

        var seen = array<u32, 7>(own[at], given[at] & 0xffu, even[at].x, shared_words[at], private_words[at], local_words[at], small.b[at]);
        seen[2] |= even[0][at];
        for (var j = 0u; j < 7u; j++) { if seen[j] != 0u && seen[j] != 0x11u { verdict[0] |= 1u << j; } }
    }
}
