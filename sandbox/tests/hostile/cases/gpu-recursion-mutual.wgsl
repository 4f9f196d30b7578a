//! what = "Two functions that call each other."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'validation'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

fn ping(n: u32) -> u32 { return pong(n + 1u); }
fn pong(n: u32) -> u32 { return ping(n + 1u); }
@compute @workgroup_size(1) fn main() { out[0] = ping(0u); }
