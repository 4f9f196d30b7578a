// One step of gradient descent with momentum: one invocation sums the gradient of one parameter over the rows of the
// step, in order, and moves it.
//   velocity = momentum * velocity - rate * (mean gradient + decay * parameter);   parameter += velocity

override INPUTS: u32;
override HIDDEN: u32;
override CLASSES: u32;
override ROWS: u32;
override MOMENTUM: f32;
override WEIGHT_DECAY: f32;

struct Step { start: u32, seed: u32, rate: f32 }

@group(0) @binding(0) var<storage, read> inputs: array<f32>;
@group(0) @binding(1) var<storage, read> hidden: array<f32>;
@group(0) @binding(2) var<storage, read> hidden_errors: array<f32>;
@group(0) @binding(3) var<storage, read> errors: array<f32>;
@group(0) @binding(4) var<uniform> step_now: Step;
@group(0) @binding(5) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(6) var<storage, read_write> velocities: array<f32>;

fn hidden_weight(unit: u32, input: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += hidden_errors[row * HIDDEN + unit] * inputs[row * INPUTS + input];
    }
    return sum;
}

fn hidden_bias(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += hidden_errors[row * HIDDEN + unit];
    }
    return sum;
}

fn output_weight(label: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += errors[row * CLASSES + label] * hidden[row * HIDDEN + unit];
    }
    return sum;
}

fn output_bias(label: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += errors[row * CLASSES + label];
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let hidden_biases = HIDDEN * INPUTS;
    let output_weights = hidden_biases + HIDDEN;
    let output_biases = output_weights + CLASSES * HIDDEN;
    let i = id.x;
    var gradient = 0.0;
    if i < hidden_biases {
        gradient = hidden_weight(i / INPUTS, i % INPUTS);
    } else if i < output_weights {
        gradient = hidden_bias(i - hidden_biases);
    } else if i < output_biases {
        let j = i - output_weights;
        gradient = output_weight(j / HIDDEN, j % HIDDEN);
    } else if i < output_biases + CLASSES {
        gradient = output_bias(i - output_biases);
    } else {
        return;
    }
    let slope = gradient / f32(ROWS) + WEIGHT_DECAY * parameters[i];
    let velocity = MOMENTUM * velocities[i] - step_now.rate * slope;
    velocities[i] = velocity;
    parameters[i] += velocity;
}
