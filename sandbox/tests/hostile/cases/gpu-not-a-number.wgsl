//! what = "Infinities, NaNs, and numbers that fit no integer, through every conversion."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'ok'
//! result = '"00000000"'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(1) fn main() {
    let zero = f32(out[1]);
    let inf = 1.0 / zero;
    let nan = zero / zero;
    var sink = 0u;
    sink += u32(inf) + u32(-inf) + u32(nan) + bitcast<u32>(i32(inf) + i32(-inf) + i32(nan));
    sink += u32(nan == nan) + u32(nan < inf) + u32(max(nan, 1.0)) + u32(clamp(nan, 0.0, 1.0));
    sink += u32(pow(-1.0 + zero, 0.5)) + u32(log(-1.0 + zero)) + u32(sqrt(-1.0 + zero)) + u32(exp(1e30 + zero));
    // As an index: anywhere in the array, nowhere else.
    out[u32(inf)] = 1u; out[u32(nan)] = 1u; out[i32(-inf)] = 1u;
    for (var i = 0u; i < 16u; i++) { out[i] = sink & 0u; }
}
