//! what = "100 structs in each other."
//! [dispatch]
//! buffers = [64]
//! groups = [1, 1, 1]
//! [expect]
//! end = 'limit'
//! limit = 'gpu-type-depth'
//! value = 15
//! [bounds]
//! run_ms = 60000
//! peak_mib = 640
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
struct S0 { a: u32 }
struct S1 { a: S0 }
struct S2 { a: S1 }
struct S3 { a: S2 }
struct S4 { a: S3 }
struct S5 { a: S4 }
struct S6 { a: S5 }
struct S7 { a: S6 }
struct S8 { a: S7 }
struct S9 { a: S8 }
struct S10 { a: S9 }
struct S11 { a: S10 }
struct S12 { a: S11 }
struct S13 { a: S12 }
struct S14 { a: S13 }
struct S15 { a: S14 }
struct S16 { a: S15 }
struct S17 { a: S16 }
struct S18 { a: S17 }
struct S19 { a: S18 }
struct S20 { a: S19 }
struct S21 { a: S20 }
struct S22 { a: S21 }
struct S23 { a: S22 }
struct S24 { a: S23 }
struct S25 { a: S24 }
struct S26 { a: S25 }
struct S27 { a: S26 }
struct S28 { a: S27 }
struct S29 { a: S28 }
struct S30 { a: S29 }
struct S31 { a: S30 }
struct S32 { a: S31 }
struct S33 { a: S32 }
struct S34 { a: S33 }
struct S35 { a: S34 }
struct S36 { a: S35 }
struct S37 { a: S36 }
struct S38 { a: S37 }
struct S39 { a: S38 }
struct S40 { a: S39 }
struct S41 { a: S40 }
struct S42 { a: S41 }
struct S43 { a: S42 }
struct S44 { a: S43 }
struct S45 { a: S44 }
struct S46 { a: S45 }
struct S47 { a: S46 }
struct S48 { a: S47 }
struct S49 { a: S48 }
struct S50 { a: S49 }
struct S51 { a: S50 }
struct S52 { a: S51 }
struct S53 { a: S52 }
struct S54 { a: S53 }
struct S55 { a: S54 }
struct S56 { a: S55 }
struct S57 { a: S56 }
struct S58 { a: S57 }
struct S59 { a: S58 }
struct S60 { a: S59 }
struct S61 { a: S60 }
struct S62 { a: S61 }
struct S63 { a: S62 }
struct S64 { a: S63 }
struct S65 { a: S64 }
struct S66 { a: S65 }
struct S67 { a: S66 }
struct S68 { a: S67 }
struct S69 { a: S68 }
struct S70 { a: S69 }
struct S71 { a: S70 }
struct S72 { a: S71 }
struct S73 { a: S72 }
struct S74 { a: S73 }
struct S75 { a: S74 }
struct S76 { a: S75 }
struct S77 { a: S76 }
struct S78 { a: S77 }
struct S79 { a: S78 }
struct S80 { a: S79 }
struct S81 { a: S80 }
struct S82 { a: S81 }
struct S83 { a: S82 }
struct S84 { a: S83 }
struct S85 { a: S84 }
struct S86 { a: S85 }
struct S87 { a: S86 }
struct S88 { a: S87 }
struct S89 { a: S88 }
struct S90 { a: S89 }
struct S91 { a: S90 }
struct S92 { a: S91 }
struct S93 { a: S92 }
struct S94 { a: S93 }
struct S95 { a: S94 }
struct S96 { a: S95 }
struct S97 { a: S96 }
struct S98 { a: S97 }
struct S99 { a: S98 }
var<private> s: S99;
@compute @workgroup_size(1) fn main() { let x = s; out[0] = 0u; s = x; }
