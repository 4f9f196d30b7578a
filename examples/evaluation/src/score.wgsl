// Counts each row at (its label, its most probable class; the first of equals): one invocation handles one row. Atomic
// additions of integers give the same counts in any order.

override CLASSES: u32;
override ROWS: u32;

@group(0) @binding(0) var<storage, read> probabilities: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> confusion: array<atomic<u32>>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    var best = 0u;
    for (var label = 1u; label < CLASSES; label++) {
        if probabilities[row * CLASSES + label] > probabilities[row * CLASSES + best] {
            best = label;
        }
    }
    atomicAdd(&confusion[labels[row] * CLASSES + best], 1u);
}
