// The output layer and softmax: one invocation computes all classes of one row.
//   probability[row][label] = exp(z[label] - max z) / sum over labels of exp(z - max z)

override INPUTS: u32;
override HIDDEN: u32;
override CLASSES: u32;
override ROWS: u32;

@group(0) @binding(0) var<storage, read> parameters: array<f32>;
@group(0) @binding(1) var<storage, read> hidden: array<f32>;
@group(0) @binding(2) var<storage, read_write> probabilities: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    let weights = HIDDEN * (INPUTS + 1u);
    let biases = weights + CLASSES * HIDDEN;
    let result = row * CLASSES;
    var highest = -3.0e38;
    for (var label = 0u; label < CLASSES; label++) {
        var sum = parameters[biases + label];
        for (var unit = 0u; unit < HIDDEN; unit++) {
            sum += parameters[weights + label * HIDDEN + unit] * hidden[row * HIDDEN + unit];
        }
        probabilities[result + label] = sum;
        highest = max(highest, sum);
    }
    var total = 0.0;
    for (var label = 0u; label < CLASSES; label++) {
        let e = exp(probabilities[result + label] - highest);
        probabilities[result + label] = e;
        total += e;
    }
    for (var label = 0u; label < CLASSES; label++) {
        probabilities[result + label] /= total;
    }
}
