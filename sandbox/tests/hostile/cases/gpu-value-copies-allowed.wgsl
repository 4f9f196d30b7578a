//! what = "As many copies of arrays as are let through: the compiler of the driver survives them."
//! [dispatch]
//! buffers = [1000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'ok'
//! [bounds]
//! run_ms = 60000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> o: array<u32, 250>;
var<private> p: array<u32, 250>;
@compute @workgroup_size(1) fn main() {
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
}
