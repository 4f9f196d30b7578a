//! Devices that an executor process keeps from one run of its requester to the next.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_gpu::{Devices, GpuError, GpuLimits};
use support::{DOUBLE, limit, words};

#[test]
fn a_kept_device_knows_its_kernels_and_nothing_else_of_the_last_run() {
    support::driver();
    let mut devices = Devices::default();
    let limits = GpuLimits::default();
    let run = |devices: &mut Devices, limits: &GpuLimits, secret: u32| {
        let mut s = devices.session(limits, None).unwrap();
        let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
        let buffers: Vec<_> = (0..8).map(|_| s.create_buffer(1 << 16).unwrap()).collect();
        let stale = buffers
            .iter()
            .flat_map(|buffer| words(&s.read(buffer, 0, 1 << 16).unwrap()));
        assert!(stale.into_iter().all(|word| word == 0));
        for buffer in &buffers {
            let secrets = vec![secret; 1 << 14];
            s.write(buffer, 0, bytemuck::cast_slice(&secrets)).unwrap();
        }
        let mut batch = s.create_batch();
        batch
            .dispatch(&kernel, &[&buffers[0], &buffers[1]], [256, 1, 1])
            .unwrap();
        s.submit(batch).unwrap();
        let doubled = words(&s.read(&buffers[1], 0, 8).unwrap());
        assert_eq!(doubled, [2 * secret; 2]);
        let (root, compiled) = (s.trace_root(), s.cached_kernels());
        drop((kernel, buffers));
        devices.keep(s);
        (root, compiled)
    };
    let first = run(&mut devices, &limits, 0xdead);
    assert!(devices.is_warm());
    let second = run(&mut devices, &limits, 0xbeef);
    assert_eq!(first, second, "the kernel was compiled once");

    // A used-up loop budget leaves the device usable, and the next run's status clean.
    let small = GpuLimits {
        loop_budget: 10,
        ..GpuLimits::default()
    };
    let mut s = devices.session(&small, None).unwrap();
    let endless = "@compute @workgroup_size(1) fn main() { loop { if false { break; } } }";
    let kernel = s.create_kernel(endless, "main", &[]).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(s.finish(), Err(limit("loop-budget", 10)));
    drop(kernel);
    devices.keep(s);
    assert!(devices.is_warm());
    let third = run(&mut devices, &limits, 0xcafe);
    assert_eq!(third.0, first.0);
}

/// Leaves its constant in all memory that a kernel has of its own.
const LEAVE: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
override word: u32;
var<workgroup> shared_words: array<u32, 4096>;
var<private> own: array<u32, 512>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
    var local: array<u32, 512>;
    for (var i = lane; i < 4096u; i += 64u) { shared_words[i] = word; }
    for (var i = 0u; i < 512u; i++) { own[i] = word; local[i] = word; }
    workgroupBarrier();
    out[lane] = shared_words[4095u - lane] & own[lane] & local[511u - lane];
}";

/// Looks for anything in memory that it never wrote.
const LOOK: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<workgroup> shared_words: array<u32, 4096>;
var<private> own: array<u32, 512>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
    var local: array<u32, 512>;
    var any = 0u;
    for (var i = lane; i < 4096u; i += 64u) { any |= shared_words[i]; }
    for (var i = 0u; i < 512u; i++) { any |= own[i] | local[i]; }
    out[lane] = any | out[lane + 64u];
}";

#[test]
fn memory_of_workgroups_and_invocations_begins_as_zero_in_every_run() {
    support::driver();
    let mut devices = Devices::default();
    let mut run = |wgsl: &str, constants: &[aevir_gpu::Constant]| {
        let mut s = devices.session(&GpuLimits::default(), None).unwrap();
        let kernel = s.create_kernel(wgsl, "main", constants).unwrap();
        let out = s.create_buffer(512).unwrap();
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&out], [64, 1, 1]).unwrap();
        s.submit(batch).unwrap();
        let found = words(&s.read(&out, 0, 256).unwrap());
        let others = s.reused_buffers();
        drop((kernel, out));
        devices.keep(s);
        (found, others)
    };
    let word = aevir_gpu::Constant {
        name: "word".into(),
        value: f64::from(0xdead_beef_u32),
    };
    assert_eq!(run(LEAVE, &[word]), (vec![0xdead_beef; 64], 0));
    // The buffer, too, is the one of the run before.
    assert_eq!(run(LOOK, &[]), (vec![0; 64], 1));
}

#[test]
fn a_lost_device_ends_its_run_and_the_next_gets_a_fresh_one() {
    support::driver();
    let mut devices = Devices::default();
    let limits = GpuLimits::default();
    let mut s = devices.session(&limits, None).unwrap();
    let a = s.create_buffer(4).unwrap();
    s.lose_device();
    let lost = s.read(&a, 0, 4).unwrap_err();
    assert!(matches!(lost, GpuError::DeviceLost(_)), "{lost:?}");
    assert!(lost.is_fatal());
    assert_eq!(s.finish(), Err(lost));
    drop(a);
    devices.keep(s);
    assert!(!devices.is_warm());
    let mut s = devices.session(&limits, None).unwrap();
    let a = s.create_buffer(4).unwrap();
    assert_eq!(words(&s.read(&a, 0, 4).unwrap()), [0]);
}
