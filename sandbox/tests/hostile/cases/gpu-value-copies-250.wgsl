//! what = "Copies of arrays that are just small enough, until they are too many."
//! [dispatch]
//! buffers = [1000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-call-tree'
//! value = 32768
//! [bounds]
//! run_ms = 20000
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
  p = o; o = p;
  p = o; o = p;
}
