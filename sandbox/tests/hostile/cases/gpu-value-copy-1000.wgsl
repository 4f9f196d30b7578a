//! what = "One array of 1000 is assigned to another: a line for whoever writes it, and 1000 values for a compiler."
//! [dispatch]
//! buffers = [4000, 4000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-value'
//! value = 256
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> b: array<u32, 1000>;
@group(0) @binding(1) var<storage, read_write> a: array<u32, 1000>;
@compute @workgroup_size(1) fn main() { b = a; }
