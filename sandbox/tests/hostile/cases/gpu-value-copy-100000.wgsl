//! what = "One array of 100000 is assigned to another: a line for whoever writes it, and 100000 values for a compiler."
//! [dispatch]
//! buffers = [400000, 400000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-value'
//! value = 256
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> b: array<u32, 100000>;
@group(0) @binding(1) var<storage, read_write> a: array<u32, 100000>;
@compute @workgroup_size(1) fn main() { b = a; }
