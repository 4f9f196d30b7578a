// x = (raw - mean) * scale, per feature, in place: one invocation handles one number.

override FEATURES: u32;

@group(0) @binding(0) var<storage, read> mean: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let feature = id.x;
    if feature >= FEATURES {
        return;
    }
    let i = id.y * FEATURES + feature;
    values[i] = (values[i] - mean[feature]) * scale[feature];
}
