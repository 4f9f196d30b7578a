//! What is refused at upload, and how it is said.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{InspectError, World, inspect};
use support::{example, guest};

#[test]
fn worlds_are_told_by_their_export() {
    assert_eq!(inspect(&guest("ok")).unwrap().world, World::Task);
    assert_eq!(inspect(&guest("verdict")).unwrap().world, World::Check);
    let comparator = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let comparator = wat::parse_str(comparator.replace("\"verify\"", "\"equal\"")).unwrap();
    assert_eq!(inspect(&comparator).unwrap().world, World::Comparator);
}

#[test]
fn the_examples_pass() {
    for name in [
        "digits-prepare",
        "mlp-train",
        "mlp-evaluate",
        "mlp-infer",
        "echo",
    ] {
        let module = example(name);
        let info = inspect(&module).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(info.world, World::Task);
        assert_eq!(info.size, module.len() as u64);
        assert_eq!(info.wants_compute(), name != "echo", "{name}");
    }
}

#[test]
fn what_the_host_lacks_is_refused_by_name() {
    let refused = |name| inspect(&guest(name)).unwrap_err();
    let import = refused("foreign-import");
    assert_eq!(
        import,
        InspectError::UnknownImport("wasi:http/outgoing-handler@0.2.0".into())
    );
    assert!(
        import
            .to_string()
            .contains("wasi:http/outgoing-handler@0.2.0")
    );
    let function = refused("foreign-function").to_string();
    assert!(function.contains("`format-disk`"), "{function}");
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    assert_eq!(inspect(&guest("core")), Err(InspectError::CoreModule));
    for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\n", &[0; 100]] {
        assert_eq!(inspect(bytes), Err(InspectError::NotWasm), "{bytes:?}");
    }
    assert_eq!(
        inspect(&guest("wrong-type")),
        Err(InspectError::WrongType("run", "result<string, string>"))
    );
    let empty = wat::parse_str("(component)").unwrap();
    assert_eq!(inspect(&empty), Err(InspectError::NoWorld));
    let huge = vec![0; 64 * 1024 * 1024 + 1];
    assert!(matches!(inspect(&huge), Err(InspectError::TooLarge { .. })));
}

#[test]
fn a_check_may_not_compute_on_the_gpu() {
    let text = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let import = "(component (import \"aevir:task/compute@1.0.0\" (instance))";
    let module = wat::parse_str(text.replacen("(component", import, 1)).unwrap();
    assert_eq!(
        inspect(&module),
        Err(InspectError::ComputeOutsideTask(World::Check))
    );
}

#[test]
fn two_worlds_in_one_module_are_refused() {
    let text = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let twice = text.replace(
        "(export \"verify\" (func $verify))",
        "(export \"verify\" (func $verify)) (export \"equal\" (func $verify))",
    );
    assert_eq!(
        inspect(&wat::parse_str(twice).unwrap()),
        Err(InspectError::TwoWorlds)
    );
}

#[test]
fn features_that_break_determinism_are_refused() {
    for body in ["(memory i64 1)", "(memory 1 1 shared)"] {
        let text = format!("(component (core module $m {body}))");
        let module = wat::parse_str(text).unwrap();
        assert!(
            matches!(inspect(&module), Err(InspectError::Invalid(_))),
            "{body}"
        );
    }
}

/// Every cut and many single-byte changes of a good module are judged without a panic.
#[test]
fn damaged_modules_are_judged_and_never_panic() {
    let module = guest("ranges");
    for len in 0..module.len() {
        // A cut at a section's end may leave a good module.
        let _ = inspect(&module[..len]);
    }
    let mut changed = module.clone();
    for at in 0..module.len() {
        for bits in [0x01, 0x80, 0xff] {
            changed[at] = module[at] ^ bits;
            let _ = inspect(&changed);
        }
        changed[at] = module[at];
    }
}
