// The rows of one step, each number with fresh uniform noise of standard deviation NOISE, so that the network learns
// what survives small changes: one invocation handles one number.
//
// The noise is a hash (PCG, from Jarzynski and Olano, "Hash functions for GPU rendering", 2020) of the epoch's seed, the
// row and the input: integers only, the same on every GPU.

override INPUTS: u32;
override NOISE: f32;

// Twelve's root: how much wider a uniform distribution is than its standard deviation.
const WIDTH = 3.4641016;

struct Step { start: u32, seed: u32, rate: f32 }

@group(0) @binding(0) var<storage, read> features: array<f32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<uniform> step_now: Step;
@group(0) @binding(3) var<storage, read_write> inputs: array<f32>;

fn hash(x: u32) -> u32 {
    let state = x * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let input = id.x;
    if input >= INPUTS {
        return;
    }
    let i = order[step_now.start + id.y] * INPUTS + input;
    let uniform_noise = f32(hash(i ^ step_now.seed) >> 8u) / 16777216.0 - 0.5;
    inputs[id.y * INPUTS + input] = features[i] + NOISE * WIDTH * uniform_noise;
}
