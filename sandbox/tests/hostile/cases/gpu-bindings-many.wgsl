//! what = "More storage buffers than a kernel may bind."
//! [dispatch]
//! buffers = [64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'storage buffers'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> b0: array<u32>;
@group(0) @binding(1) var<storage, read_write> b1: array<u32>;
@group(0) @binding(2) var<storage, read_write> b2: array<u32>;
@group(0) @binding(3) var<storage, read_write> b3: array<u32>;
@group(0) @binding(4) var<storage, read_write> b4: array<u32>;
@group(0) @binding(5) var<storage, read_write> b5: array<u32>;
@group(0) @binding(6) var<storage, read_write> b6: array<u32>;
@group(0) @binding(7) var<storage, read_write> b7: array<u32>;
@group(0) @binding(8) var<storage, read_write> b8: array<u32>;
@group(0) @binding(9) var<storage, read_write> b9: array<u32>;
@group(0) @binding(10) var<storage, read_write> b10: array<u32>;
@group(0) @binding(11) var<storage, read_write> b11: array<u32>;
@compute @workgroup_size(1) fn main() { b0[0] = b1[0] + b2[0] + b3[0] + b4[0] + b5[0] + b6[0] + b7[0] + b8[0] + b9[0] + b10[0] + b11[0]; }
