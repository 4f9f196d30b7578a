//! The loop budget changes nothing but what it is for: an instrumented kernel computes what the plain one computes, bit by bit,
//! or says that its budget is used up.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use aevir_gpu::{Constant, GpuError, GpuLimits, Session};
use naga::ScalarKind;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use support::plain::{Binding, Plain, bindings, overrides};
use support::{generate, open, session, words};

/// Words of each buffer that an example kernel gets.
const EXAMPLE_WORDS: usize = 1 << 15;
/// What every integer constant of an example is: the tile of the largest one.
const EXAMPLE_SIZE: u32 = 64;
/// Generated kernels; `AEVIR_GPU_KERNELS=n` for more.
const GENERATED: u32 = 24;
/// What a generated kernel finds where it writes. Zero will not do: kernels come about that compute zeroes and nothing else.
const UNWRITTEN: u32 = 0x5bd1_e995;

/// One dispatch through a session; the words of each buffer afterwards.
fn instrumented(
    session: &mut Session,
    wgsl: &str,
    constants: &[Constant],
    buffers: &[Vec<u32>],
    groups: [u32; 3],
) -> Result<Vec<Vec<u32>>, GpuError> {
    let kernel = session.create_kernel(wgsl, "main", constants)?;
    let made: Vec<_> = buffers
        .iter()
        .map(|words| {
            let buffer = session.create_buffer(words.len() as u64 * 4).unwrap();
            session
                .write(&buffer, 0, bytemuck::cast_slice(words))
                .unwrap();
            buffer
        })
        .collect();
    let mut batch = session.create_batch();
    let bound: Vec<_> = made.iter().take(kernel.bindings()).collect();
    batch.dispatch(&kernel, &bound, groups)?;
    session.submit(batch)?;
    made.iter()
        .map(|buffer| {
            session
                .read(buffer, 0, buffer.size() as u32)
                .map(|bytes| words(&bytes))
        })
        .collect()
}

/// Words that suit a binding: small integers, floats of ordinary size.
fn fill(binding: &Binding) -> Vec<u32> {
    // A uniform is a struct of a few words, in whole vectors.
    let words = match binding.uniform {
        true => binding.kinds.len().next_multiple_of(4),
        false => EXAMPLE_WORDS,
    };
    (0..words)
        .map(|i| {
            let hash = (i as u32).wrapping_mul(0x9e37_79b9) ^ binding.number;
            if binding.halves {
                return half(hash) | half(hash >> 13) << 16;
            }
            match binding.kinds[i % binding.kinds.len()] {
                ScalarKind::Float => ((hash >> 8) as f32 / (1 << 24) as f32 - 0.5).to_bits(),
                // A uniform's integers are starts and seeds; a buffer's are rows and labels.
                _ if binding.uniform => 0,
                _ => i as u32 % EXAMPLE_SIZE,
            }
        })
        .collect()
}

/// A number of half precision: from 0.5 to 1, with either sign.
fn half(bits: u32) -> u32 {
    0x3800 | bits & 0x83ff
}

fn kernels_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            kernels_below(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "wgsl")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_example_kernel_computes_the_same() {
    let plain = Plain::open();
    let mut found = Vec::new();
    kernels_below(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"),
        &mut found,
    );
    assert!(found.len() >= 10, "{found:?}");
    let adapter = open(GpuLimits::default());
    let features = adapter.info().features.iter();
    let f16: Vec<_> = features.filter(|name| *name == "shader-f16").collect();
    let mut session = session(GpuLimits {
        features: f16.iter().copied().cloned().collect(),
        ..GpuLimits::default()
    });
    for path in found {
        let wgsl = std::fs::read_to_string(&path).unwrap();
        // SwiftShader has no half precision.
        if wgsl.contains("enable f16") && f16.is_empty() {
            continue;
        }
        let constants: Vec<_> = overrides(&wgsl)
            .into_iter()
            .map(|(name, kind)| Constant {
                value: match kind {
                    ScalarKind::Float => 0.25,
                    // Each 32 wide: more would write the same words in no order.
                    _ if name == "HEADS" => f64::from(EXAMPLE_SIZE / 32),
                    _ => EXAMPLE_SIZE.into(),
                },
                name,
            })
            .collect();
        let bound = bindings(&wgsl, "main");
        let buffers: Vec<_> = bound.iter().map(fill).collect();
        // One workgroup: more would write the same words in no order, since every size is the same.
        let groups = [1, 1, 1];
        let expected = plain.run(&wgsl, "main", &constants, &buffers, groups);
        let computed = instrumented(&mut session, &wgsl, &constants, &buffers, groups).unwrap();
        for (binding, (expected, computed)) in bound.iter().zip(expected.iter().zip(&computed)) {
            assert!(
                expected == computed,
                "{}: binding {} differs",
                path.display(),
                binding.number
            );
        }
        let writes = bound.iter().any(|binding| binding.writable);
        assert!(
            !writes || computed != buffers,
            "{} computed nothing",
            path.display()
        );
    }
}

#[test]
fn generated_kernels_compute_the_same_or_run_out_of_budget() {
    let plain = Plain::open();
    let cases = std::env::var("AEVIR_GPU_KERNELS").map_or(GENERATED, |n| n.parse().unwrap());
    let mut runner = TestRunner::new(Config::with_cases(cases));
    let source: Vec<u32> = (0..generate::WORDS as u32)
        .map(|i| i.wrapping_mul(0x9e37_79b9) >> (i % 32))
        .collect();
    let buffers = [source, vec![UNWRITTEN; generate::WORDS]];
    let mut unlimited = session(GpuLimits::default());
    let (mut looping, mut exhausted) = (0, 0);
    for _ in 0..cases {
        let wgsl = generate::kernel().new_tree(&mut runner).unwrap().current();
        let expected = plain.run(&wgsl, "main", &[], &buffers, [4, 1, 1]);
        assert_ne!(expected[1], buffers[1], "it writes nothing:\n{wgsl}");
        let computed = instrumented(&mut unlimited, &wgsl, &[], &buffers, [4, 1, 1]);
        assert_eq!(computed.as_ref(), Ok(&expected), "{wgsl}");
        looping += u32::from(wgsl.contains("loop") || wgsl.contains("while"));

        // With a budget that some of them pass: never something else.
        let small = GpuLimits {
            loop_budget: 8,
            ..GpuLimits::default()
        };
        match instrumented(&mut session(small), &wgsl, &[], &buffers, [4, 1, 1]) {
            Ok(computed) => assert_eq!(computed, expected, "{wgsl}"),
            Err(error) => {
                assert_eq!(error, support::limit("loop-budget", 8), "{wgsl}");
                exhausted += 1;
            }
        }
    }
    println!("{cases} kernels, {looping} with loops besides `for`, {exhausted} over a budget of 8");
    assert!(looping > cases / 4 && exhausted > 0);
}
