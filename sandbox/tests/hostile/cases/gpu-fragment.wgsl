//! what = "A stage that is no computation."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'no compute entry point'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@fragment fn main() -> @location(0) vec4f { return vec4f(); }
