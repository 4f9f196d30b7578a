//! what = "A texture, which no task has."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'neither a storage nor a uniform buffer'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var t: texture_2d<f32>;
@compute @workgroup_size(1) fn main() { let s = textureLoad(t, vec2u(), 0); }
