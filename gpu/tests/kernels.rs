//! Kernels that nobody should be able to run, and what their authors are told.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_gpu::{Constant, GpuError, GpuLimits};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::{limit, session, words};

const OUT: &str = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;\n";

/// The error for a kernel, with entry point `main`.
fn refused(wgsl: &str) -> GpuError {
    let kernel = session(GpuLimits::default()).create_kernel(wgsl, "main", &[]);
    kernel.err().unwrap_or_else(|| panic!("accepted: {wgsl}"))
}

#[test]
fn messages_say_where_and_why() {
    let rows = [
        ("fn main( {}", "expected"),
        (
            "@compute @workgroup_size(1) fn other() {}",
            "the module has: other",
        ),
        ("@fragment fn main() {}", "no compute entry point"),
        (
            "@compute @workgroup_size(1) fn main() { undefined(); }",
            "undefined",
        ),
        (
            "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }",
            "type",
        ),
        (
            "@group(1) @binding(0) var<storage, read_write> o: array<u32>;
             @compute @workgroup_size(1) fn main() { o[0] = 1u; }",
            "only group 0",
        ),
        (
            "@group(0) @binding(1) var<storage, read_write> o: array<u32>;
             @compute @workgroup_size(1) fn main() { o[0] = 1u; }",
            "without gaps; 0 is missing",
        ),
        (
            "@group(0) @binding(0) var t: texture_2d<f32>;
             @compute @workgroup_size(1) fn main() { let s = textureDimensions(t); }",
            "neither a storage nor a uniform buffer",
        ),
        ("@compute @workgroup_size(1025) fn main() {}", ""),
        ("@compute @workgroup_size(64, 64) fn main() {}", ""),
        (
            "var<private> big: array<u32, 4096>;
             @compute @workgroup_size(1) fn main() { big[0] = 1u; }",
            "private and function variables",
        ),
        (
            "var<workgroup> big: array<u32, 40960>;
             @compute @workgroup_size(1) fn main() { big[0] = 1u; }",
            "",
        ),
        (
            "enable f16; @compute @workgroup_size(1) fn main() { let x = 1h; }",
            "f16",
        ),
        (
            "override n: u32 = 40960u; var<workgroup> big: array<u32, n>;
             @compute @workgroup_size(1) fn main() { big[0] = 1u; }",
            "workgroup variables",
        ),
        ("@compute @workgroup_size(1) fn main() { main(); }", ""),
        (
            "fn a() { b(); } fn b() { a(); } @compute @workgroup_size(1) fn main() { a(); }",
            "",
        ),
    ];
    for (wgsl, wanted) in rows {
        match refused(wgsl) {
            GpuError::Validation(text) => assert!(text.contains(wanted), "{wgsl}\n{text}"),
            other => panic!("{wgsl}: {other:?}"),
        }
    }
}

#[test]
fn sizes_are_capped() {
    let long = format!(
        "{OUT}{}",
        " ".repeat(GpuLimits::default().source_bytes as usize)
    );
    let most = GpuLimits::default().source_bytes;
    assert_eq!(refused(&long), limit("source-size", most.into()));
    // 2^40 statements once every call is expanded.
    let mut tree = "fn f0() { out[0] += 1u; }\n".to_owned();
    for i in 1..=40 {
        tree += &format!("fn f{i}() {{ f{0}(); f{0}(); }}\n", i - 1);
    }
    let tree = format!("{OUT}{tree}@compute @workgroup_size(1) fn main() {{ f40(); }}");
    assert_eq!(refused(&tree), limit("call-tree", 32_768));

    let mut s = session(GpuLimits {
        kernels: 1,
        ..GpuLimits::default()
    });
    let wgsl = "@compute @workgroup_size(1) fn main() {}";
    let kernel = s.create_kernel(wgsl, "main", &[]).unwrap();
    assert_eq!(
        s.create_kernel(wgsl, "main", &[]).map(|_| ()),
        Err(limit("kernels", 1))
    );
    drop(kernel);
    s.create_kernel(wgsl, "main", &[]).unwrap();
}

#[test]
fn constants_are_checked_by_name_and_value() {
    let mut s = session(GpuLimits::default());
    let wgsl = format!(
        "{OUT}override a: u32 = 1u; @id(7) override b: u32 = 2u;
         @compute @workgroup_size(1) fn main() {{ out[0] = a; out[1] = b; }}"
    );
    let constant = |name: &str, value| Constant {
        name: name.into(),
        value,
    };
    let kernel = s
        .create_kernel(&wgsl, "main", &[constant("a", 5.0), constant("7", 6.0)])
        .unwrap();
    let out = s.create_buffer(8).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(words(&s.read(&out, 0, 8).unwrap()), [5, 6]);
    for bad in [
        constant("c", 1.0),
        constant("b", 1.0),
        constant("a", f64::NAN),
        constant("a", -1.0),
    ] {
        let error = s
            .create_kernel(&wgsl, "main", std::slice::from_ref(&bad))
            .map(|_| ());
        assert!(
            matches!(error, Err(GpuError::Validation(_))),
            "{bad:?}: {error:?}"
        );
    }
    let many = vec![constant("a", 1.0); 65];
    let error = s.create_kernel(&wgsl, "main", &many).map(|_| ());
    assert_eq!(error, Err(limit("constants", 64)));
}

#[test]
fn kernels_of_one_module_bind_what_they_use() {
    let mut s = session(GpuLimits::default());
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> a: array<u32>;
        @group(0) @binding(1) var<storage, read_write> b: array<u32>;
        @group(0) @binding(2) var<storage, read_write> c: array<u32>;
        @compute @workgroup_size(1) fn first() { a[0] = 1u; }
        @compute @workgroup_size(1) fn last() { c[0] = 2u; }";
    let first = s.create_kernel(wgsl, "first", &[]).unwrap();
    let last = s.create_kernel(wgsl, "last", &[]).unwrap();
    assert_eq!((first.bindings(), last.bindings()), (1, 3));
    let [x, y] = [(); 2].map(|()| s.create_buffer(4).unwrap());
    let mut batch = s.create_batch();
    batch.dispatch(&first, &[&x], [1, 1, 1]).unwrap();
    batch.dispatch(&last, &[&x, &x, &y], [1, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    assert_eq!(words(&s.read(&x, 0, 4).unwrap()), [1]);
    assert_eq!(words(&s.read(&y, 0, 4).unwrap()), [2]);
}

#[test]
fn out_of_bounds_accesses_stay_in_their_buffer() {
    let mut s = session(GpuLimits::default());
    let wgsl = format!(
        "{OUT}override at: u32;
         @compute @workgroup_size(1) fn main() {{ out[at] = 77u; out[0] = 1u; }}"
    );
    let [out, other] = [(); 2].map(|()| s.create_buffer(16).unwrap());
    for at in [4.0, 5.0, 64.0, 1e9, 4_294_967_295.0] {
        let name = "at".into();
        let kernel = s
            .create_kernel(&wgsl, "main", &[Constant { name, value: at }])
            .unwrap();
        let mut batch = s.create_batch();
        batch.dispatch(&kernel, &[&out], [1, 1, 1]).unwrap();
        s.submit(batch).unwrap();
    }
    s.finish().unwrap();
    assert_eq!(words(&s.read(&other, 0, 16).unwrap()), [0; 4]);
}

/// A submission that outlasts the wait ends the session and says so, at every later call as well.
#[test]
fn a_wait_that_takes_too_long_is_a_timeout() {
    let mut s = session(GpuLimits {
        wait_ms: 1,
        loop_budget: 1 << 24,
        ..GpuLimits::default()
    });
    let wgsl = format!(
        "{OUT}@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {{
             var x = id.x;
             for (var i = 0u; i < 100000u; i++) {{ x = x * 1664525u + 1013904223u; }}
             out[0] = x;
         }}"
    );
    let kernel = s.create_kernel(&wgsl, "main", &[]).unwrap();
    let out = s.create_buffer(4).unwrap();
    let mut batch = s.create_batch();
    batch.dispatch(&kernel, &[&out], [64, 1, 1]).unwrap();
    s.submit(batch).unwrap();
    let timeout = Err(GpuError::Timeout {
        limit: "wait",
        value_ms: 1,
    });
    assert_eq!(s.read(&out, 0, 4).map(|_| ()), timeout);
    assert_eq!(s.create_buffer(4).map(|_| ()), timeout);
    assert_eq!(s.finish(), timeout);
    assert!(s.into_gpu().is_none(), "a hung device is not used again");
}

/// Any text is judged without a panic, and none ends the session.
#[test]
fn any_source_is_judged() {
    let mut session = session(GpuLimits::default());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(256));
    for _ in 0..runner.config().cases {
        let parts = proptest::collection::vec(part(), 0..12);
        let body = parts.new_tree(&mut runner).unwrap().current().concat();
        let wgsl = format!("{OUT}@compute @workgroup_size(1) fn main() {{ {body} }}");
        let _ = session.create_kernel(&wgsl, "main", &[]);
        assert_eq!(session.ended(), None, "{wgsl}");
    }
}

/// Pieces of WGSL that are often valid together.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("var x = out[0];".to_owned()),
        Just("loop { if out[1] > 3u { break; } }".to_owned()),
        Just("for (var i = 0u; i < 8u; i++) { out[i] = i; }".to_owned()),
        Just("workgroupBarrier();".to_owned()),
        Just("{ var x = 1u / out[2]; out[x] = x; }".to_owned()),
        Just("switch out[0] { case 1u: { continue; } default: {} }".to_owned()),
        Just("while true { continuing { break if out[0] == 1u; } }".to_owned()),
        Just("return;".to_owned()),
        Just("} fn more() {".to_owned()),
        "[ -~]{0,12}",
        "\\PC{0,8}",
    ]
}
