#![allow(clippy::unwrap_used, missing_docs)]
mod support;
use support::Bench;
#[tokio::test]
async fn strings() {
    let text = std::fs::read_to_string("tests/hostile/cases/composed-strings.wat").unwrap();
    let utf16 = text
        .replace("string-encoding=utf8", "string-encoding=utf16")
        .replace("33554432", "16777216");
    let list = text.replace("(param \"text\" string)", "(param \"text\" (list u8))");
    for (name, text) in [("utf8", &text), ("utf16", &utf16), ("list u8", &list)] {
        let wasm = wat::parse_str(text).unwrap();
        let mut bench = Bench::new(&wasm);
        bench.run().await;
        let ran = bench.run().await;
        println!("{name}: {:?} {:?}", ran.outcome.end, ran.outcome.usage);
    }
}
