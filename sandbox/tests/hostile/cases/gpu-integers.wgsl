//! what = "Division by zero, the one quotient that overflows, shifts by more than there are bits."
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
    let zero = out[1];
    let least = bitcast<i32>(0x80000000u + zero);
    let minus = bitcast<i32>(0xffffffffu + zero);
    out[2] = 7u / zero + 7u % zero + bitcast<u32>(least / minus) + bitcast<u32>(least % minus) + (1u << (zero + 40u)) + (1u >> (zero + 99u));
    out[0] = 0u;
}
