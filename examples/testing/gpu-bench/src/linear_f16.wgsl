// y = x * w in half precision, summed in single: one workgroup computes a tile of 64 x 64, one invocation 4 x 4 of it.
// ROWS and COLUMNS are multiples of 64, INNER of 16.

enable f16;

override ROWS: u32;
override INNER: u32;
override COLUMNS: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f16>>;

var<workgroup> left: array<vec4<f16>, 256>;
var<workgroup> right: array<vec4<f16>, 256>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_id) at: vec3u, @builtin(local_invocation_index) i: u32) {
    var sums = array<vec4f, 4>();
    let row = tile.y * 64u + at.y * 4u;
    let column = tile.x * 16u + at.x; // in vectors
    for (var k = 0u; k < INNER; k += 16u) {
        left[i] = x[((tile.y * 64u + i / 4u) * INNER + k) / 4u + i % 4u];
        right[i] = w[(k + i / 16u) * (COLUMNS / 4u) + tile.x * 16u + i % 16u];
        workgroupBarrier();
        for (var j = 0u; j < 4u; j++) {
            let w0 = right[j * 64u + at.x];
            let w1 = right[j * 64u + 16u + at.x];
            let w2 = right[j * 64u + 32u + at.x];
            let w3 = right[j * 64u + 48u + at.x];
            for (var r = 0u; r < 4u; r++) {
                let v = left[at.y * 16u + r * 4u + j];
                sums[r] += vec4f(v.x * w0 + v.y * w1 + v.z * w2 + v.w * w3);
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
        y[(row + r) * (COLUMNS / 4u) + column] = vec4<f16>(sums[r]);
    }
}
