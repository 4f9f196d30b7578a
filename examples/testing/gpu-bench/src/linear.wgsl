// y = x * w + b, with GELU after it where GELU is 1: one workgroup computes a tile of 64 x 64, one invocation 4 x 4 of it.
// ROWS and COLUMNS are multiples of 64, INNER of 16.

override ROWS: u32;
override INNER: u32;
override COLUMNS: u32;
override GELU: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

// The tile of x: 64 rows of 16; of w: 16 rows of 64.
var<workgroup> left: array<vec4f, 256>;
var<workgroup> right: array<vec4f, 256>;

fn gelu(v: vec4f) -> vec4f {
    return 0.5 * v * (1.0 + tanh(0.7978845608 * (v + 0.044715 * v * v * v)));
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_id) at: vec3u, @builtin(local_invocation_index) i: u32) {
    var sum0 = vec4f(); var sum1 = vec4f(); var sum2 = vec4f(); var sum3 = vec4f();
    let row = tile.y * 64u + at.y * 4u;
    let column = tile.x * 16u + at.x; // in vectors
    for (var k = 0u; k < INNER; k += 16u) {
        left[i] = x[((tile.y * 64u + i / 4u) * INNER + k) / 4u + i % 4u];
        right[i] = w[(k + i / 16u) * (COLUMNS / 4u) + tile.x * 16u + i % 16u];
        workgroupBarrier();
        for (var j = 0u; j < 4u; j++) {
            let x0 = left[at.y * 16u + j];
            let x1 = left[at.y * 16u + 4u + j];
            let x2 = left[at.y * 16u + 8u + j];
            let x3 = left[at.y * 16u + 12u + j];
            let w0 = right[j * 64u + at.x];
            let w1 = right[j * 64u + 16u + at.x];
            let w2 = right[j * 64u + 32u + at.x];
            let w3 = right[j * 64u + 48u + at.x];
            sum0 += x0.x * w0 + x0.y * w1 + x0.z * w2 + x0.w * w3;
            sum1 += x1.x * w0 + x1.y * w1 + x1.z * w2 + x1.w * w3;
            sum2 += x2.x * w0 + x2.y * w1 + x2.z * w2 + x2.w * w3;
            sum3 += x3.x * w0 + x3.y * w1 + x3.z * w2 + x3.w * w3;
        }
        workgroupBarrier();
    }
    let bias = b[column];
    var sums = array<vec4f, 4>(sum0 + bias, sum1 + bias, sum2 + bias, sum3 + bias);
    for (var r = 0u; r < 4u; r++) {
        var v = sums[r];
        if GELU == 1u {
            v = gelu(v);
        }
        y[(row + r) * (COLUMNS / 4u) + column] = v;
    }
}
