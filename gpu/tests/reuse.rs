//! Dropped buffers become new ones: nobody may be able to tell, but by the time it takes.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_gpu::pool::{KEPT_BYTES_MAX, REUSED_BYTES_MAX};
use aevir_gpu::{Buffer, Devices, GpuError, GpuLimits, Session};
use proptest::prelude::*;
use support::{limit, session, words};

/// Adds `a` and one into `b`, as far as both go.
const ADD: &str = "
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> b: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&a) && id.x < arrayLength(&b) { b[id.x] += a[id.x] + 1u; }
}";

/// What a guest may do with its buffers; numbers choose among those that are there.
#[derive(Debug, Clone)]
enum Step {
    Make(usize),
    Drop(usize),
    Write(usize, u32),
    Add(usize, usize),
    Copy(usize, usize),
    Read(usize),
}

/// Few sizes, so that buffers are often made of others.
const SIZES: [usize; 3] = [4, 64, 1024];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0usize..64;
    let step = prop_oneof![
        4 => (0..SIZES.len()).prop_map(Step::Make),
        3 => which().prop_map(Step::Drop),
        3 => (which(), any::<u32>()).prop_map(|(at, word)| Step::Write(at, word)),
        3 => (which(), which()).prop_map(|(a, b)| Step::Add(a, b)),
        1 => (which(), which()).prop_map(|(a, b)| Step::Copy(a, b)),
        1 => which().prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Plays the steps on a session and on plain memory, which must stay equal.
fn play(session: &mut Session, steps: &[Step]) -> Result<(), TestCaseError> {
    let kernel = session.create_kernel(ADD, "main", &[]).unwrap();
    let mut all: Vec<(Buffer, Vec<u32>)> = Vec::new();
    for step in steps {
        let at = |n: &usize| n % all.len().max(1);
        match step {
            Step::Make(size) => {
                let bytes = SIZES[*size];
                let buffer = session.create_buffer(bytes as u64).unwrap();
                all.push((buffer, vec![0; bytes / 4]));
            }
            _ if all.is_empty() => {}
            Step::Drop(n) => {
                let at = at(n);
                all.swap_remove(at);
            }
            Step::Write(n, word) => {
                let at = at(n);
                let (buffer, model) = &mut all[at];
                session.write(buffer, 0, &word.to_le_bytes()).unwrap();
                model[0] = *word;
            }
            Step::Add(a, b) => {
                let (a, b) = (at(a), at(b));
                let mut batch = session.create_batch();
                let groups = [SIZES[2] as u32 / 4 / 64, 1, 1];
                let bound = [&all[a].0, &all[b].0];
                batch.dispatch(&kernel, &bound, groups).unwrap();
                let submitted = session.submit(batch);
                if a == b {
                    // Refused, and what was dropped is still zeroed some other time.
                    prop_assert!(matches!(submitted, Err(GpuError::Validation(_))));
                    continue;
                }
                submitted.unwrap();
                let added = all[a].1.clone();
                let into = all[b].1.iter_mut().zip(added);
                into.for_each(|(b, a)| *b = b.wrapping_add(a).wrapping_add(1));
            }
            Step::Copy(a, b) => {
                let (a, b) = (at(a), at(b));
                if a == b {
                    continue;
                }
                let words = all[a].1.len().min(all[b].1.len());
                let mut batch = session.create_batch();
                let bytes = words as u64 * 4;
                batch.copy(&all[a].0, 0, &all[b].0, 0, bytes).unwrap();
                session.submit(batch).unwrap();
                let copied = all[a].1[..words].to_vec();
                all[b].1[..words].copy_from_slice(&copied);
            }
            Step::Read(n) => check(session, &all[at(n)])?,
        }
    }
    all.iter().try_for_each(|each| check(session, each))
}

fn check(session: &mut Session, (buffer, model): &(Buffer, Vec<u32>)) -> Result<(), TestCaseError> {
    let read = session.read(buffer, 0, model.len() as u32 * 4).unwrap();
    prop_assert_eq!(&words(&read), model);
    Ok(())
}

#[test]
fn every_buffer_is_zeroed_whatever_it_was_before() {
    support::driver();
    let devices = std::cell::RefCell::new(Devices::default());
    let (reused, kept) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    });
    let ran = runner.run(&steps(), |steps| {
        let mut devices = devices.borrow_mut();
        let mut session = devices.session(&GpuLimits::default(), None).unwrap();
        kept.set(kept.get() + u64::from(session.kept_bytes() > 0));
        play(&mut session, &steps)?;
        reused.set(reused.get() + session.reused_buffers());
        devices.keep(session);
        Ok(())
    });
    ran.unwrap();
    let (reused, kept) = (reused.get(), kept.get());
    println!("{reused} buffers were others before; {kept} of 200 runs began with some");
    assert!(reused > 500 && kept > 100, "{reused} {kept}");
}

/// Why each of a guest's buffers is one of wgpu's and no part of a larger one: wgpu keeps account of uses by whole buffers, so a kernel
/// that reads one part and writes another is refused, as is a copy between parts.
#[test]
fn parts_of_one_buffer_are_no_buffers() {
    let plain = support::plain::Plain::open();
    let refused = plain.dispatch_on_parts(ADD, 0..256, 256..512).unwrap();
    assert!(refused.contains("usage"), "{refused}");
    let refused = plain.copy_between_parts(0..256, 256..512).unwrap();
    assert!(refused.contains("same buffer"), "{refused}");
}

#[test]
fn what_is_kept_counts_as_held_and_is_bounded() {
    const MIB: u64 = 1 << 20;
    let mut s = session(GpuLimits {
        memory_bytes: 64 * MIB,
        ..GpuLimits::default()
    });
    let fill = |s: &mut Session, size: u64| {
        let buffer = s.create_buffer(size).unwrap();
        s.write(&buffer, 0, &[0xff; 4]).unwrap();
        buffer
    };
    let some: Vec<_> = (0..16).map(|_| fill(&mut s, MIB)).collect();
    drop(some);
    assert_eq!(s.kept_bytes(), 16 * MIB);
    // All of the memory is there to be had, by others of that size or by one of another.
    let again: Vec<_> = (0..16).map(|_| fill(&mut s, MIB)).collect();
    drop(again);
    let large = s.create_buffer(64 * MIB).unwrap();
    assert_eq!(s.kept_bytes(), 0, "it made room");
    assert_eq!(s.create_buffer(4).unwrap_err(), limit("memory", 64 * MIB));
    drop(large);
    assert_eq!(s.kept_bytes(), 0, "too large to be kept");

    let mut s = session(GpuLimits {
        memory_bytes: 4 * KEPT_BYTES_MAX,
        ..GpuLimits::default()
    });
    let largest: Vec<_> = (0..8).map(|_| fill(&mut s, REUSED_BYTES_MAX)).collect();
    drop(largest);
    assert_eq!(s.kept_bytes(), KEPT_BYTES_MAX);
    let buffer = fill(&mut s, 4);
    s.read(&buffer, 0, 4).unwrap();
    drop(buffer);
    // Zeroed ones make room for newer ones.
    for _ in 0..300 {
        drop(fill(&mut s, 1024));
    }
    let word = s.create_buffer(4).unwrap();
    s.read(&word, 0, 4).unwrap();
    assert!(s.kept_bytes() <= KEPT_BYTES_MAX);
    let made = s.reused_buffers();
    drop(fill(&mut s, 1024));
    assert_eq!(s.reused_buffers(), made + 1);
}

/// wgpu's allocator cuts buffers out of blocks of the device's memory, and a block stays as long as one buffer is in it.
#[test]
fn memory_that_is_torn_to_pieces_stays_within_twice_the_budget() {
    const MIB: u64 = 1 << 20;
    let mut s = session(GpuLimits::default());
    let budget = s.limits().memory_bytes;
    let word = s.create_buffer(4).unwrap();
    s.read(&word, 0, 4).unwrap();
    let (_, small) = s.allocated_bytes();
    // Larger and larger buffers; of each size a few stay, one in each block.
    let mut kept = Vec::new();
    let mut worst = 0;
    for size in [
        MIB / 2,
        MIB,
        2 * MIB,
        4 * MIB,
        8 * MIB,
        16 * MIB,
        32 * MIB,
        60 * MIB,
    ] {
        let mut round = Vec::new();
        while let Ok(buffer) = s.create_buffer(size) {
            round.push(buffer);
        }
        worst = worst.max(s.allocated_bytes().1);
        let each = (64 * MIB / size).max(1) as usize;
        kept.extend(round.into_iter().step_by(each).take(5));
        s.read(&word, 0, 4).unwrap();
    }
    println!(
        "{} MiB of blocks for one word, {} for {} at worst",
        small / MIB,
        worst / MIB,
        budget / MIB
    );
    assert!(small <= 32 * MIB && worst > budget && worst <= 2 * budget);
}
