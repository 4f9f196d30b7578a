//! Fuzzing: any text is judged without a panic, and what is accepted and instrumented is still a valid module.
//!
//! Thirty seconds in the test command; longer by hand with `AEVIR_FUZZ_SECONDS=n cargo test -p aevir-gpu --test fuzz_wgsl`, or guided
//! by coverage with `cargo bolero test -p aevir-gpu any_text_is_judged`. Where it begins, and what once failed, stands below `tests/__fuzz__` and is
//! tried first.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aevir_gpu::kernel::instrument;
use aevir_gpu::{GpuError, GpuLimits};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Pieces of WGSL that a few bytes choose among: text made of them is often valid.
const PIECES: [&str; 48] = [
    "@compute @workgroup_size(1) fn main() {",
    "}",
    "{",
    ";",
    "(",
    ")",
    "@group(0) @binding(0) var<storage, read_write> out: array<u32>;",
    "@group(0) @binding(1) var<uniform> even: vec4u;",
    "var<private> own: array<u32, 4>;",
    "var<workgroup> all: array<atomic<u32>, 4>;",
    "const k = 3u;",
    "override o: u32 = 2u;",
    "struct S { a: u32, b: vec3f }",
    "fn f(p: u32) -> u32 {",
    "return p;",
    "return 1u;",
    "return;",
    "var x = 1u;",
    "let y = out[0];",
    "x = x + 1u;",
    "x += f(x);",
    "out[x] = 2u;",
    "out[0]++;",
    "for (var i = 0u; i < 4u; i++) {",
    "while x < 9u {",
    "loop {",
    "continuing {",
    "break if x > 3u;",
    "break;",
    "continue;",
    "if x > 1u {",
    "} else {",
    "} else if x == 2u {",
    "switch x {",
    "case 1u, 2u: {",
    "default: {",
    "workgroupBarrier();",
    "storageBarrier();",
    "atomicAdd(&all[0], 1u);",
    "own[x] = out[1];",
    "var<function> z: S;",
    "z.a = x;",
    "let p = &x;",
    "*p = 2u;",
    "_ = f(1u);",
    "alias T = u32;",
    "const_assert k == 3u;",
    "// \n",
];

/// Half of the inputs are text as it is; the others choose pieces.
fn source(bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((first, rest)) if first % 2 == 0 => rest
            .iter()
            .map(|&byte| PIECES[usize::from(byte) % PIECES.len()])
            .collect::<Vec<_>>()
            .join(" "),
        Some((_, rest)) => String::from_utf8_lossy(rest).into_owned(),
        None => String::new(),
    }
}

fn judge(wgsl: &str) {
    let limits = GpuLimits::default();
    match instrument(wgsl, "main", &[], &limits) {
        Ok(kernel) => {
            let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
            let valid =
                Validator::new(ValidationFlags::all(), capabilities).validate(&kernel.module);
            assert!(valid.is_ok(), "{valid:?}\n{wgsl}");
        }
        Err(GpuError::Validation(text)) => assert!(!text.is_empty()),
        Err(GpuError::Limit { .. }) => {}
        Err(other) => panic!("{other:?}\n{wgsl}"),
    }
}

#[test]
fn any_text_is_judged() {
    let seconds = std::env::var("AEVIR_FUZZ_SECONDS").map_or(30, |text| text.parse().unwrap());
    bolero::check!()
        .with_test_time(Duration::from_secs(seconds))
        .with_max_len(2048)
        .for_each(|bytes: &[u8]| judge(&source(bytes)));
}

/// The pieces are worth choosing among: simple sequences of them are accepted, with loops.
#[test]
fn pieces_make_kernels() {
    let piece = |text: &str| PIECES.iter().position(|piece| *piece == text).unwrap() as u8;
    let wgsl = source(&[
        0,
        piece("@group(0) @binding(0) var<storage, read_write> out: array<u32>;"),
        piece("@compute @workgroup_size(1) fn main() {"),
        piece("var x = 1u;"),
        piece("while x < 9u {"),
        piece("x = x + 1u;"),
        piece("}"),
        piece("out[x] = 2u;"),
        piece("}"),
    ]);
    let kernel = instrument(&wgsl, "main", &[], &GpuLimits::default()).unwrap();
    assert!(kernel.has_loops);
    judge(&wgsl);
}
