//! what = "Arrays that are loaded as values and indexed, so that the compiler must keep each in memory: more than an invocation has."
//! [dispatch]
//! buffers = [1000]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'guest-error'
//! says = 'values that are indexed'
//! [bounds]
//! run_ms = 20000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> o: array<u32, 250>;
@compute @workgroup_size(1) fn main() {
  var sum = 0u;
  let x0 = o; sum += x0[o[0] % 250u];
  let x1 = o; sum += x1[o[1] % 250u];
  let x2 = o; sum += x2[o[2] % 250u];
  let x3 = o; sum += x3[o[3] % 250u];
  let x4 = o; sum += x4[o[4] % 250u];
  let x5 = o; sum += x5[o[5] % 250u];
  let x6 = o; sum += x6[o[6] % 250u];
  let x7 = o; sum += x7[o[7] % 250u];
  let x8 = o; sum += x8[o[8] % 250u];
  o[0] = sum;
}
