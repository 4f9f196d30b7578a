// Cross-entropy of each row, and its derivative by the output layer's sums: one invocation handles one row.
//   loss = -ln probability[right label];   error[label] = probability[label] - (1 if it is the right one)
// The errors replace the probabilities.

override CLASSES: u32;
override ROWS: u32;

// Keeps the logarithm finite where the probability rounded to zero.
const PROBABILITY_MIN = 1e-12;

struct Step { start: u32, seed: u32, rate: f32 }

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<uniform> step_now: Step;
@group(0) @binding(3) var<storage, read_write> errors: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    let place = step_now.start + row;
    let right = row * CLASSES + labels[order[place]];
    losses[place] = -log(max(errors[right], PROBABILITY_MIN));
    errors[right] -= 1.0;
}
