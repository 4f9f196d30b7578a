//! what = "Twenty copies of an array of 500 there and back."
//! [dispatch]
//! buffers = [2000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-value'
//! value = 256
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> o: array<u32, 500>;
var<private> p: array<u32, 500>;
@compute @workgroup_size(1) fn main() {
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
  p = o; o = p;
}
