// Errors of the hidden layer: one invocation handles one unit of one row.
//   hidden_error[row][unit] = sum over labels of error[row][label] * weight[label][unit], where the unit was active

override INPUTS: u32;
override HIDDEN: u32;
override CLASSES: u32;

@group(0) @binding(0) var<storage, read> parameters: array<f32>;
@group(0) @binding(1) var<storage, read> errors: array<f32>;
@group(0) @binding(2) var<storage, read> hidden: array<f32>;
@group(0) @binding(3) var<storage, read_write> hidden_errors: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let unit = id.x;
    let row = id.y;
    if unit >= HIDDEN {
        return;
    }
    let i = row * HIDDEN + unit;
    var sum = 0.0;
    if hidden[i] > 0.0 {
        let weights = HIDDEN * (INPUTS + 1u) + unit;
        for (var label = 0u; label < CLASSES; label++) {
            sum += errors[row * CLASSES + label] * parameters[weights + label * HIDDEN];
        }
    }
    hidden_errors[i] = sum;
}
