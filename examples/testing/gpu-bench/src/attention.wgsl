// Attention of all heads: one invocation computes one row of one head (32 wide), with the softmax's sum and maximum carried along.
//   mixed[row][head] = sum over keys of softmax(q[row] . k[key] / sqrt(32)) * v[key]

override TOKENS: u32;
override WIDTH: u32;
override HEADS: u32;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> mixed: array<vec4f>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let row = id.x;
    let head = id.y;
    if row >= TOKENS || head >= HEADS {
        return;
    }
    let line = WIDTH / 4u;
    let own = row * line + head * 8u;
    var sums = array<vec4f, 8>();
    var highest = -3.0e38;
    var total = 0.0;
    for (var key = 0u; key < TOKENS; key++) {
        let other = key * line + head * 8u;
        var score = 0.0;
        for (var i = 0u; i < 8u; i++) {
            score += dot(q[own + i], k[other + i]);
        }
        score *= 0.1767766953;
        let higher = max(highest, score);
        let shrink = exp(highest - higher);
        let weight = exp(score - higher);
        total = total * shrink + weight;
        for (var i = 0u; i < 8u; i++) {
            sums[i] = sums[i] * shrink + weight * v[other + i];
        }
        highest = higher;
    }
    for (var i = 0u; i < 8u; i++) {
        mixed[own + i] = sums[i] / total;
    }
}
