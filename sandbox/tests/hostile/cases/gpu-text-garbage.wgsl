//! what = "Text that is no WGSL, with all that tokenisers stumble over."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'validation'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
‮🦀 /* /* */ 0x 1e 1e99999f @ @@ <<<>>> 'a' "b" \\ fn fn fn ( [ { /*
