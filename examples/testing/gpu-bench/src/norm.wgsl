// out = (s - mean(s)) / sqrt(variance(s) + 1e-5) with s = a + b, by rows: one workgroup handles one row.

override WIDTH: u32;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> partial: array<f32, 64>;

fn total(i: u32, value: f32) -> f32 {
    partial[i] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if i < half {
            partial[i] += partial[i + half];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) row: vec3u, @builtin(local_invocation_index) i: u32) {
    let start = row.x * WIDTH;
    var sum = 0.0;
    for (var column = i; column < WIDTH; column += 64u) {
        sum += a[start + column] + b[start + column];
    }
    let mean = total(i, sum) / f32(WIDTH);
    var squares = 0.0;
    for (var column = i; column < WIDTH; column += 64u) {
        let d = a[start + column] + b[start + column] - mean;
        squares += d * d;
    }
    let scale = inverseSqrt(total(i, squares) / f32(WIDTH) + 1e-5);
    for (var column = i; column < WIDTH; column += 64u) {
        out[start + column] = (a[start + column] + b[start + column] - mean) * scale;
    }
}
