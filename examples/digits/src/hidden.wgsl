// The hidden layer: one invocation computes one unit of one row.
//   hidden[row][unit] = max(0, bias[unit] + sum over inputs of weight[unit][input] * x[row][input])

override INPUTS: u32;
override HIDDEN: u32;

@group(0) @binding(0) var<storage, read> parameters: array<f32>;
@group(0) @binding(1) var<storage, read> features: array<f32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let unit = id.x;
    let row = id.y;
    if unit >= HIDDEN {
        return;
    }
    var sum = parameters[HIDDEN * INPUTS + unit];
    for (var i = 0u; i < INPUTS; i++) {
        sum += parameters[unit * INPUTS + i] * features[row * INPUTS + i];
    }
    hidden[row * HIDDEN + unit] = max(sum, 0.0);
}
