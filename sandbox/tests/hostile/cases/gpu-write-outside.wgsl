//! what = "Writes far outside of arrays in every address space: nothing else may change."
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
    var behind: array<u32, 16>;
    var small: Small;
    small.a = 7u;
    for (var i = 0u; i < 16u; i++) { guard[i] = 0x22u; behind[i] = 0x22u; }

    for (var i = 0u; i < 40u; i++) {
        // 16, 17, 19, 23, ... 2^31 + 15, and some that overflow when they are multiplied by four.
        let at = 15u + (1u << (i % 32u)) + select(0u, 0x3ffffff0u, i >= 32u);

        own[at] = 0xbadu; shared_words[at] = 0xbadu; private_words[at] = 0xbadu; local_words[at] = 0xbadu; small.b[at] = 0xbadu;
    }
    for (var i = 0u; i < 16u; i++) {
        if guard[i] != 0x22u { verdict[0] |= 1u; }
        if behind[i] != 0x22u { verdict[0] |= 2u; }
        if given[i] != 0x11u { verdict[0] |= 4u; }
    }
    if small.a != 7u { verdict[0] |= 8u; }
    verdict[0] |= (even[0].x ^ even[0].x);
}
