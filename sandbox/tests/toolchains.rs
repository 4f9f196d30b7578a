//! Guests that are too large to be checked in, in Python and JavaScript: `cargo xtask setup toolchains` makes them, and `cargo xtask test`
//! runs them where they were made. By hand they run when they are asked for (`--ignored`), and a variable that is not set fails.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{End, World, prepare_upload};
use support::Bench;

const TEXT: &[u8] = "one two one\nthree one".as_bytes();

async fn counts_words(variable: &str) {
    let path = std::env::var(variable)
        .unwrap_or_else(|_| panic!("set {variable}, as examples/programs/README.md says"));
    let module = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let upload = prepare_upload(&module).unwrap();
    assert_eq!(upload.info.world, World::Task);
    eprintln!(
        "{} instances; {:#?}",
        upload.info.instances, upload.info.imports
    );
    let mut bench = Bench::new(&module)
        .params(r#"{"word": "one"}"#)
        .input("text", TEXT);
    let (one, two) = (bench.run().await, bench.run().await);
    assert_eq!(one.outcome.end, End::Ok, "{:#?}", one.events);
    let result: serde_json::Value = serde_json::from_str(one.result()).unwrap();
    assert_eq!(result, serde_json::json!({"count": 3}));
    assert_eq!(one.outcome.metrics[0].micro, 3_000_000);
    assert_eq!(one.outcome.usage.fuel, two.outcome.usage.fuel);
    eprintln!(
        "{path}: {:?}, then {:?}",
        one.outcome.usage, two.outcome.usage
    );
}

#[tokio::test]
#[ignore = "needs a component that `cargo xtask setup toolchains` makes with componentize-py"]
async fn python_runs() {
    counts_words("AEVIR_PYTHON_GUEST").await;
}

#[tokio::test]
#[ignore = "needs a component that `cargo xtask setup toolchains` makes with componentize-js"]
async fn javascript_runs() {
    counts_words("AEVIR_JAVASCRIPT_GUEST").await;
}
