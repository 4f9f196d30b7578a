// Values that take their time and that any processor can compute again, a few of them at a time.
//
// Eight chains x <- x * x + c for each value, independent of one another so that they fill the GPU's pipelines. The map is chaotic for these
// c: there is no way to a chain's end but its steps. Single precision runs into cycles after some thousand steps, so that each chain starts
// anew after 512, from a hash of the seed, the value's index and the start's number, with another c: no two starts are alike, and no table
// of starts is of use. All is exact but the steps, which are fused or not: a check tries both. Nothing comes near a subnormal number.

// The seed's 8 words, the first value's index, and the starts of each chain.
@group(0) @binding(0) var<storage, read> work: array<u32, 10>;
@group(0) @binding(1) var<storage, read_write> values: array<u32>;

// The finaliser of MurmurHash3: a bijection.
fn scramble(word: vec4u) -> vec4u {
    var h = word;
    h ^= h >> vec4u(16u);
    h *= 0x85ebca6bu;
    h ^= h >> vec4u(13u);
    h *= 0xc2b2ae35u;
    h ^= h >> vec4u(16u);
    return h;
}

// From -1 to 1, 24 bits.
fn start(h: vec4u) -> vec4f {
    return vec4f(h >> vec4u(8u)) * 0x1p-23f - 1.0;
}

// From -1.9375 to -1.8125, 20 bits.
fn constant(h: vec4u) -> vec4f {
    return -1.8125 - vec4f(h >> vec4u(12u)) * 0x1p-23f;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let index = work[8] + id.x;
    let s = vec4u(work[0], work[1], work[2], work[3]);
    let t = vec4u(work[4], work[5], work[6], work[7]);
    let a_x = scramble(s ^ vec4u(index));
    let b_x = scramble(t ^ vec4u(index));
    let a_c = scramble(a_x ^ t);
    let b_c = scramble(b_x ^ s);
    var end = vec4u(0u);
    for (var n = 0u; n < work[9]; n++) {
        let step = vec4u(n * 0x9e3779b9u);
        var a = start(scramble(a_x + step));
        var b = start(scramble(b_x + step));
        let c = constant(scramble(a_c + step));
        let d = constant(scramble(b_c + step));
        for (var i = 0u; i < 32u; i++) {
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
            a = fma(a, a, c); b = fma(b, b, d); a = fma(a, a, c); b = fma(b, b, d);
        }
        end = (end ^ bitcast<vec4u>(a)) * 0x01000193u;
        end = (end ^ bitcast<vec4u>(b)) * 0x01000193u;
    }
    let h = scramble(end);
    values[index] = h.x ^ (h.y << 1u) ^ (h.z << 2u) ^ (h.w << 3u);
}
