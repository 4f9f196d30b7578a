// Mean and 1 / deviation of each feature over the first ROWS rows: one invocation walks one feature, in row order, so
// that the sums are the same on every run. Two passes, since the difference of squares would lose digits.

override FEATURES: u32;
override ROWS: u32;
override DEVIATION_MIN: f32;

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let feature = id.x;
    if feature >= FEATURES {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += values[row * FEATURES + feature];
    }
    let centre = sum / f32(ROWS);
    var squares = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        let difference = values[row * FEATURES + feature] - centre;
        squares += difference * difference;
    }
    mean[feature] = centre;
    scale[feature] = 1.0 / max(sqrt(squares / f32(ROWS)), DEVIATION_MIN);
}
