//! WASI programs, unchanged: one in C, made by Debian's clang and wasi-libc (`examples/programs`), and some by hand.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{End, InspectError, RunEvent, World, prepare_upload};
use serde_json::{Value, json};
use support::{Bench, Ran, guest};

fn program(file: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/programs");
    std::fs::read(format!("{folder}/{file}")).unwrap()
}

/// A bench for what an upload makes of a module.
fn uploaded(module: &[u8]) -> Bench {
    let upload = prepare_upload(module).unwrap();
    assert!(upload.is_adapted());
    assert_eq!(upload.info.world, World::Program);
    Bench::new(&upload.component)
}

fn logged(ran: &Ran) -> Vec<&str> {
    let lines = ran.events.iter().filter_map(|event| match event {
        RunEvent::Log { text, .. } => Some(text.as_str()),
        _ => None,
    });
    lines.collect()
}

fn document(ran: &Ran) -> Value {
    assert_eq!(ran.outcome.end, End::Ok, "{:?}", ran.events);
    serde_json::from_str(ran.result()).unwrap()
}

#[tokio::test]
async fn a_c_program_reads_its_inputs_and_prints_its_result() {
    let mut bench = uploaded(&program("survey.wasm"))
        .params(r#"{"args": ["-o", "copy"]}"#)
        .input("stdin", b"one two\nthree\n")
        .input("b", &[b'x'; 100_000])
        .input("a", b"");
    let ran = bench.run().await;
    let expected = json!({
        "a": {"bytes": 0, "lines": 0, "words": 0},
        "b": {"bytes": 100_000, "lines": 0, "words": 1},
        "stdin": {"bytes": 14, "lines": 2, "words": 3},
        "standard input": {"bytes": 14, "lines": 2, "words": 3},
        "home": "",
    });
    assert_eq!(document(&ran), expected);
    let printed: Value = serde_json::from_slice(&ran.output("stdout")).unwrap();
    assert_eq!(printed, expected, "the output is what was printed");
    let copied = ran.output("copy");
    assert_eq!(copied.len(), 100_028);
    assert!(copied.ends_with(b"one two\nthree\n"));
    assert_eq!(logged(&ran), ["surveying after 0 s"]);
}

#[tokio::test]
async fn a_program_has_no_randomness_and_no_time_but_the_runs_own() {
    let mut bench = uploaded(&program("survey.wasm"))
        .params(r#"{"args": ["-r", "32", "-s", "5"], "env": {"HOME": "/inputs"}}"#);
    let (one, two) = (bench.run().await, bench.run().await);
    assert_eq!(document(&one)["home"], "/inputs");
    assert_eq!(document(&one)["random"].as_str().unwrap().len(), 64);
    assert_eq!(document(&one), document(&two));
    assert_eq!(one.outcome.usage.fuel, two.outcome.usage.fuel);
    assert_eq!(logged(&one), ["surveying after 5 s"]);
    // Sleeping costs what working so long would have, and takes no time.
    assert!(one.outcome.usage.fuel > 5_000_000_000);
    assert!(one.outcome.usage.wall_ms < 2_000);
    bench.spec.seed += 1;
    assert_ne!(
        document(&bench.run().await)["random"],
        document(&one)["random"]
    );
}

#[tokio::test]
async fn an_exit_code_is_the_programs_own_error_with_its_last_words() {
    let program = program("survey.wasm");
    let ran = uploaded(&program)
        .params(r#"{"args": ["-x", "3"]}"#)
        .run()
        .await;
    let End::GuestError { text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert!(text.contains("exited with code"), "{text}");
    assert!(text.ends_with(": exiting as told"), "{text}");
    assert_eq!(logged(&ran).last(), Some(&"exiting as told"));
    assert!(ran.outcome.outputs.is_empty());

    let ran = uploaded(&program).params(r#"{"args": "-x 3"}"#).run().await;
    let End::GuestError { text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert!(text.contains("`args` (a list of texts)"), "{text}");
}

#[tokio::test]
async fn a_program_by_hand_prints_and_complains() {
    let program = guest("hello-preview1");
    let mut bench = uploaded(&program).params(r#"{"args": ["x"]}"#);
    let ran = bench.run().await;
    assert_eq!(document(&ran), json!({"arguments": 2}));
    assert_eq!(ran.output("stdout"), b"{\"arguments\": 2}\n");
    assert_eq!(logged(&ran), ["two", "lines and a half"]);
    let ran = uploaded(&program)
        .params(r#"{"args": ["x", "y"]}"#)
        .run()
        .await;
    assert!(matches!(ran.outcome.end, End::GuestError { .. }));
}

#[tokio::test]
async fn outputs_are_limited_for_programs_as_for_tasks() {
    let mut bench = uploaded(&program("survey.wasm"))
        .params(r#"{"args": ["-o", "copy"]}"#)
        .input("stdin", &vec![b'x'; 1 << 20])
        .limits(|limits| limits.output_bytes = 1 << 19);
    let ran = bench.run().await;
    assert!(
        matches!(&ran.outcome.end, End::Limit { limit, .. } if limit == "output"),
        "{:?}",
        ran.outcome.end
    );
    let mut bench = uploaded(&program("survey.wasm"))
        .params(r#"{"args": ["-s", "10"]}"#)
        .limits(|limits| limits.fuel = 1_000_000_000);
    let ran = bench.run().await;
    assert!(
        matches!(&ran.outcome.end, End::Limit { limit, .. } if limit == "fuel"),
        "{:?}",
        ran.outcome.end
    );
}

#[tokio::test]
async fn there_is_no_network() {
    let ran = Bench::guest("denied-socket").run().await;
    assert_eq!(ran.result(), "\"denied\"");
}

#[test]
fn core_modules_that_are_no_programs_are_refused_by_what_they_want() {
    let refused = |text: &str| {
        let module = wat::parse_str(text).unwrap();
        prepare_upload(&module).unwrap_err()
    };
    assert_eq!(refused("(module)"), InspectError::CoreModule);
    assert_eq!(
        refused("(module (import \"env\" \"emscripten_run\" (func)) (func (export \"_start\")))"),
        InspectError::ForeignCoreImport("env.emscripten_run".into())
    );
    assert!(matches!(
        refused(
            "(module (import \"wasi_snapshot_preview1\" \"fd_format\" (func)) (memory (export \"memory\") 1) (func (export \"_start\")))"
        ),
        InspectError::NotAdaptable(text) if text.contains("fd_format")
    ));
    // As a component it is judged as such.
    let http = "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance)))";
    let InspectError::UnknownImport(name) = refused(http) else {
        panic!("not refused for its import");
    };
    assert_eq!(name, "wasi:http/outgoing-handler@0.2.0");
}
