//! Sessions on the adapter of this machine: hardware if there is one, SwiftShader otherwise.
//!
//! Set up the software driver with `cargo xtask setup`; without any adapter every test here fails and says so.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_gpu::{AdapterError, Constant, Gpu, GpuError, GpuLimits};
use sha2::{Digest, Sha256};
use support::{DOUBLE, limit, open, session, words};

#[test]
fn computes_with_constants_copies_and_uniforms() {
    let mut s = session(GpuLimits::default());
    let triple = Constant {
        name: "factor".into(),
        value: 3.0,
    };
    let kernel = s.create_kernel(DOUBLE, "main", &[triple]).unwrap();
    let [a, b, c] = [(); 3].map(|()| s.create_buffer(400).unwrap());
    let input: Vec<u32> = (0..100).collect();
    s.write(&a, 0, bytemuck::cast_slice(&input)).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&a, &b], [2, 1, 1]).unwrap();
    batch.copy(&b, 4, &c, 8, 40).unwrap();
    batch.dispatch(&kernel, &[&b, &a], [2, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(words(&s.read(&c, 0, 24).unwrap()), [0, 0, 3, 6, 9, 12]);
    assert_eq!(words(&s.read(&a, 396, 4).unwrap()), [891]);
    s.finish().unwrap();
    let usage = s.usage();
    assert_eq!(
        (usage.dispatches, usage.workgroups, usage.copies),
        (2, 4, 1)
    );
    assert_eq!((usage.bytes_in, usage.bytes_out), (400, 28));
    assert!(usage.time_ns > 0);
}

#[test]
fn a_uniform_of_a_larger_buffer_is_bound_at_its_own_size() {
    let mut s = session(GpuLimits::default());
    let kernel = s
        .create_kernel(
            "@group(0) @binding(0) var<uniform> u: vec4u;
             @group(0) @binding(1) var<storage, read_write> out: array<u32, 4>;
             @compute @workgroup_size(1) fn main() { out[0] = u.x + u.w; }",
            "main",
            &[],
        )
        .unwrap();
    let uniform = s.create_buffer(256 * 1024).unwrap();
    let out = s.create_buffer(16).unwrap();
    s.write(&uniform, 0, bytemuck::cast_slice(&[5u32, 0, 0, 6]))
        .unwrap();
    let mut batch = s.create_batch();
    batch
        .dispatch(&kernel, &[&uniform, &out], [1, 1, 1])
        .unwrap();
    s.submit(batch).unwrap();
    assert_eq!(words(&s.read(&out, 0, 4).unwrap()), [11]);
}

#[test]
fn an_endless_loop_is_an_error_and_not_a_wrong_answer() {
    let mut s = session(GpuLimits {
        loop_budget: 10_000,
        ..GpuLimits::default()
    });
    let kernel = s
        .create_kernel(
            "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
             @compute @workgroup_size(1) fn main() { loop { out[0]++; if out[0] == 0u { break; } } }",
            "main",
            &[],
        )
        .unwrap();
    let out = s.create_buffer(4).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    let exhausted = Err(limit("loop-budget", 10_000));
    assert_eq!(s.read(&out, 0, 4).map(|_| ()), exhausted);
    assert_eq!(s.finish(), exhausted, "ignoring the error does not help");
}

#[test]
fn exhaustion_shows_at_the_end_even_if_nothing_is_read() {
    let mut s = session(GpuLimits {
        loop_budget: 100,
        ..GpuLimits::default()
    });
    let kernel = s
        .create_kernel(
            "@compute @workgroup_size(1) fn main() { loop { if false { break; } } }",
            "main",
            &[],
        )
        .unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(s.finish(), Err(limit("loop-budget", 100)));
}

#[test]
fn a_loop_within_its_budget_is_unharmed_also_around_barriers() {
    // Invocations spend different amounts in private loops inside of a loop with a barrier.
    let mut s = session(GpuLimits {
        loop_budget: 2_100,
        ..GpuLimits::default()
    });
    let kernel = s
        .create_kernel(
            "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
             var<workgroup> sum: atomic<u32>;
             @compute @workgroup_size(64)
             fn main(@builtin(local_invocation_index) i: u32) {
                 for (var round = 0u; round < 32u; round++) {
                     for (var j = 0u; j < i; j++) { atomicAdd(&sum, 1u); }
                     workgroupBarrier();
                 }
                 if i == 0u { out[0] = atomicLoad(&sum); }
             }",
            "main",
            &[],
        )
        .unwrap();
    let out = s.create_buffer(4).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(words(&s.read(&out, 0, 4).unwrap()), [32 * (63 * 64 / 2)]);
}

#[test]
fn memory_is_budgeted_and_given_back() {
    let mut s = session(GpuLimits {
        memory_bytes: 1 << 20,
        buffers: 3,
        ..GpuLimits::default()
    });
    let half = s.create_buffer(1 << 19).unwrap();
    let _other = s.create_buffer(1 << 19).unwrap();
    let full = Err(limit("memory", 1 << 20));
    assert_eq!(s.create_buffer(4).map(|_| ()), full);
    assert_eq!(s.refused(), full.as_ref().err());
    drop(half);
    for _ in 0..8 {
        s.create_buffer(1 << 19).unwrap();
    }
    assert_eq!(
        s.refused(),
        None,
        "a refusal that was got over is forgotten"
    );
    let _small = [s.create_buffer(4).unwrap(), s.create_buffer(4).unwrap()];
    assert_eq!(s.create_buffer(4).map(|_| ()), Err(limit("buffers", 3)));
}

#[test]
fn ranges_are_checked_at_their_edges() {
    let mut s = session(GpuLimits::default());
    let buffer = s.create_buffer(64).unwrap();
    let other = s.create_buffer(64).unwrap();
    assert!(s.read(&buffer, 60, 4).is_ok());
    assert!(s.read(&buffer, 64, 0).is_ok());
    for (offset, len) in [
        (u64::MAX, 4),
        (u64::MAX - 3, 4),
        (64, 4),
        (0, 68),
        (2, 4),
        (0, 2),
    ] {
        let read = s.read(&buffer, offset, len);
        assert!(
            matches!(read, Err(GpuError::Validation(_))),
            "{offset} {len}"
        );
    }
    for offset in [u64::MAX, u64::MAX - 3, 64] {
        let write = s.write(&buffer, offset, &[0; 4]);
        assert!(matches!(write, Err(GpuError::Validation(_))));
    }
    let mut batch = s.create_batch();
    assert!(batch.copy(&buffer, u64::MAX - 3, &other, 0, 4).is_err());
    assert!(batch.copy(&buffer, 0, &other, 0, u64::MAX - 3).is_err());
    assert!(batch.copy(&buffer, 0, &buffer, 32, 4).is_err());
    for size in [0, 2, u64::MAX, u64::MAX - 3] {
        assert!(matches!(
            s.create_buffer(size),
            Err(GpuError::Validation(_))
        ));
    }
    s.finish().unwrap();
}

#[test]
fn dispatches_are_checked() {
    let mut s = session(GpuLimits {
        workgroups_per_dispatch: 1_000,
        commands_per_batch: 2,
        commands: 3,
        ..GpuLimits::default()
    });
    let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
    let [a, b] = [(); 2].map(|()| s.create_buffer(64).unwrap());
    let mut batch = s.create_batch();
    assert!(matches!(
        batch.dispatch(&kernel, &[&a], [1, 1, 1]),
        Err(GpuError::Validation(_))
    ));
    for (groups, refused) in [
        ([1001, 1, 1], limit("workgroups", 1_000)),
        ([100, 11, 1], limit("workgroups", 1_000)),
        ([u32::MAX; 3], limit("workgroups-per-dimension", 65_535)),
    ] {
        let dispatched = batch.dispatch(&kernel, &[&a, &b], groups);
        assert_eq!(dispatched, Err(refused));
    }
    batch.dispatch(&kernel, &[&a, &b], [0, 1, 1]).unwrap();
    batch.dispatch(&kernel, &[&a, &b], [10, 10, 10]).unwrap();
    assert_eq!(batch.copy(&a, 0, &b, 0, 4), Err(limit("batch", 2)));
    s.submit(batch).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&a, &b], [1, 1, 1]).unwrap();
    batch.dispatch(&kernel, &[&a, &b], [1, 1, 1]).unwrap();
    assert_eq!(s.submit(batch), Err(limit("dispatches", 3)));
}

#[test]
fn a_buffer_bound_for_reading_and_writing_is_refused_without_ending_the_session() {
    let mut s = session(GpuLimits::default());
    let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
    let a = s.create_buffer(64).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&a, &a], [1, 1, 1]).unwrap();
    assert!(matches!(s.submit(batch), Err(GpuError::Validation(_))));
    s.finish().unwrap();
}

#[test]
fn the_trace_depends_on_what_was_dispatched_and_on_nothing_else() {
    let root = |groups: u32| {
        let mut s = session(GpuLimits::default());
        let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
        let [a, b] = [(); 2].map(|()| s.create_buffer(64).unwrap());
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&a, &b], [groups, 1, 1]).unwrap();
        s.submit(batch).unwrap();
        s.trace_root()
    };
    assert_eq!(root(1), root(1));
    assert_ne!(root(1), root(2));
}

/// The bytes of `docs/trace.md`, put together by hand.
#[test]
fn the_trace_is_what_its_document_says() {
    let sha = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(bytes).into() };
    let field = |bytes: &[u8]| [&(bytes.len() as u64).to_be_bytes(), bytes].concat();
    let numbers = |all: &[u64]| -> Vec<u8> { all.iter().flat_map(|n| n.to_be_bytes()).collect() };
    let wgsl = "@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> b: array<u32>;
@group(0) @binding(2) var<storage, read> unused: array<u32>;
@group(0) @binding(3) var<uniform> u: vec4u;
override add = 1u;
@compute @workgroup_size(1) fn main() { b[0] = a[0] + u.x + add; }";
    let add = |value| Constant {
        name: "add".into(),
        value,
    };
    let run = |add: &[Constant], long: u8| {
        let mut s = session(GpuLimits::default());
        let kernel = s.create_kernel(wgsl, "main", add).unwrap();
        let [a, b, u] = [64, 128, 256].map(|size| s.create_buffer(size).unwrap());
        s.write(&a, 4, &[7; 8]).unwrap();
        let large = s.create_buffer(8192).unwrap();
        s.write(&large, 0, &[long; 8192]).unwrap();
        let mut batch = s.create_batch();
        let bound = [&a, &b, &a, &u];
        batch.dispatch(&kernel, &bound, [2, 3, 1]).unwrap();
        batch.copy(&b, 0, &a, 60, 4).unwrap();
        s.submit(batch).unwrap();
        s.read(&a, 60, 4).unwrap();
        s.trace_root()
    };
    let kernel = [
        field(wgsl.as_bytes()),
        field(b"main"),
        field(b"add"),
        field(&2f64.to_bits().to_be_bytes()),
    ];
    let entries = [
        [b"\x01w", &numbers(&[0, 4, 8])[..], &sha(&[7; 8])].concat(),
        [b"\x01w", &numbers(&[3, 0, 8192])[..]].concat(),
        [
            b"\x01d",
            &sha(&kernel.concat())[..],
            &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1],
            &numbers(&[0, 0, 64, 1, 0, 128, 0, 0, 0, 2, 0, 16]),
        ]
        .concat(),
        [b"\x01c", &numbers(&[1, 0, 0, 60, 4])[..]].concat(),
        [b"\x01r", &numbers(&[0, 60, 4])[..]].concat(),
    ];
    let leaves = entries.map(|entry| sha(&[&[0], &entry[..]].concat()));
    let node = |a: [u8; 32], b: [u8; 32]| sha(&[&[1], &a[..], &b].concat());
    let [a, b, c, d, e] = leaves;
    let root = node(node(node(a, b), node(c, d)), e);
    assert_eq!(run(&[add(2.0)], 1), root);
    // What is in a long write does not show, what the constants are does.
    assert_eq!(run(&[add(2.0)], 2), root);
    assert_ne!(run(&[add(3.0)], 1), root);
}

#[test]
fn many_unread_submissions_and_writes_stay_bounded() {
    let mut s = session(GpuLimits::default());
    let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
    let [a, b] = [(); 2].map(|()| s.create_buffer(8 << 20).unwrap());
    let chunk = vec![1; 8 << 20];
    for _ in 0..20 {
        s.write(&a, 0, &chunk).unwrap();
    }
    for _ in 0..200 {
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&a, &b], [1, 1, 1]).unwrap();
        s.submit(batch).unwrap();
    }
    assert_eq!(words(&s.read(&b, 0, 4).unwrap()), [0x0202_0202]);
}

#[test]
fn the_identity_is_stable_and_the_class_names_the_adapter() {
    let (one, two) = (open(GpuLimits::default()), open(GpuLimits::default()));
    assert_eq!(one.info(), two.info());
    let class = &one.info().class;
    let (word, digits) = class.split_once('-').unwrap();
    assert!(
        one.info().name.to_ascii_lowercase().starts_with(word),
        "{class}"
    );
    assert_eq!(digits.len(), 16);
}

#[test]
fn features_and_limits_are_asked_for_by_name() {
    let asked = |features: &[&str]| GpuLimits {
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        ..GpuLimits::default()
    };
    let refused = |limits| {
        open(GpuLimits::default());
        Gpu::open(&limits).map(|_| ()).unwrap_err()
    };
    let error = refused(asked(&["time-travel"]));
    assert!(
        matches!(&error, AdapterError::UnknownFeature { name, .. } if name == "time-travel"),
        "{error}"
    );
    let huge = GpuLimits {
        memory_bytes: u64::MAX,
        ..GpuLimits::default()
    };
    assert!(refused(huge).to_string().contains("memory_bytes"));

    let portable = session(GpuLimits::default());
    assert!(portable.device_limits().max_storage_buffers_per_kernel >= 7);
    let has = portable.adapter().features.clone();
    for name in [
        "shader-f16",
        "subgroups",
        "large-buffers",
        "large-workgroups",
        "many-buffers",
    ] {
        let limits = asked(&[name]);
        if has.iter().any(|feature| feature == name) {
            let session = session(limits);
            assert_eq!(session.features().collect::<Vec<_>>(), [name]);
            if name == "large-buffers" {
                assert_eq!(session.device_limits().max_buffer_size, 1 << 30);
            }
        } else {
            let error = refused(limits);
            assert!(
                matches!(error, AdapterError::Lacks { .. }),
                "{name}: {error}"
            );
        }
    }
}

/// Order of writes, batches and reads is the order of the calls, although the newest batch is held back.
#[test]
fn a_batch_sees_the_writes_before_it_and_none_after() {
    let mut s = session(GpuLimits::default());
    let kernel = s.create_kernel(DOUBLE, "main", &[]).unwrap();
    let [a, b, c] = [(); 3].map(|()| s.create_buffer(4).unwrap());
    s.write(&a, 0, &5u32.to_le_bytes()).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&a, &b], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    s.write(&a, 0, &100u32.to_le_bytes()).unwrap();
    assert_eq!(words(&s.read(&b, 0, 4).unwrap()), [10]);
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&a, &c], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&c, &b], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    s.write(&b, 0, &7u32.to_le_bytes()).unwrap();
    assert_eq!(words(&s.read(&c, 0, 4).unwrap()), [200]);
    assert_eq!(words(&s.read(&b, 0, 4).unwrap()), [7]);
}

#[test]
fn gpu_time_is_a_limit_of_the_whole_run() {
    let mut s = session(GpuLimits {
        time_ms: 50,
        ..GpuLimits::default()
    });
    let kernel = s
        .create_kernel(
            "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
             @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                 var x = id.x;
                 for (var i = 0u; i < 5000u; i++) { x = x * 1664525u + 1013904223u; }
                 out[0] = x;
             }",
            "main",
            &[],
        )
        .unwrap();
    let out = s.create_buffer(4).unwrap();
    let mut read = Ok(Vec::new());
    for _ in 0..10_000 {
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&out], [64, 1, 1]).unwrap();
        if s.submit(batch).is_err() {
            break;
        }
        read = s.read(&out, 0, 4);
        if read.is_err() {
            break;
        }
    }
    let over = GpuError::Timeout {
        limit: "time",
        value_ms: 50,
    };
    assert_eq!(s.ended(), Some(&over), "{read:?}");
    assert!(s.usage().time_ns >= 50_000_000, "{:?}", s.usage());
}

#[test]
fn the_time_of_a_batch_is_metered() {
    let mut s = session(GpuLimits::default());
    let kernel = s
        .create_kernel(
            "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
             override rounds: u32;
             @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                 var x = id.x;
                 for (var i = 0u; i < rounds; i++) { x = x * 1664525u + 1013904223u; }
                 out[id.x] = x;
             }",
            "main",
            &[Constant {
                name: "rounds".into(),
                value: 20_000.0,
            }],
        )
        .unwrap();
    let out = s.create_buffer(64 * 64 * 4).unwrap();
    let mut time = |groups| {
        let before = s.usage().time_ns;
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&out], [groups, 1, 1]).unwrap();
        s.submit(batch).unwrap();
        s.finish().unwrap();
        s.usage().time_ns - before
    };
    time(64); // the driver's compiler
    let (small, large) = ((time(1) + time(1)), (time(64) + time(64)));
    assert!(small > 0 && large > small, "{small} ns, {large} ns");
}

#[test]
fn the_measured_class_is_in_the_adapters_facts() {
    let mut gpu = open(GpuLimits::default());
    assert_eq!(gpu.info().compute, None);
    gpu.measure().unwrap();
    let class = gpu.info().compute.unwrap();
    // From a phone's processor to a rack.
    assert!((0..=12).contains(&class.0), "{class}");
}
