//! Components of two parts that call each other with lists: each function between them is code that the runtime writes and compiles, and no
//! part has.

use std::fmt::Write as _;

use super::random;

/// What lists are of.
const ITEMS: [&str; 12] = [
    "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "bool",
];
/// Lists in what one function takes.
const LISTS: usize = 100;
const SEED: u64 = 1;

/// So many functions between two parts, each of its own type.
pub(super) fn calls(count: usize) -> Vec<u8> {
    let types = types(count);
    let mut text = format!(
        "(component (component $part {types}
           (core module $m (memory (export \"memory\") 1)
             (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 0))
             (func (export \"take\") (param i32 i32)))
           (core instance $i (instantiate $m))"
    );
    for i in 0..count {
        let _ = write!(
            text,
            "(func (export \"f{i}\") (param \"x\" $t{i}) (canon lift (core func $i \"take\")
               (memory (core memory $i \"memory\")) (realloc (core func $i \"realloc\"))))"
        );
    }
    let _ = write!(text, ") (component $caller {types}");
    for i in 0..count {
        let _ = write!(text, "(import \"f{i}\" (func $f{i} (param \"x\" $t{i})))");
    }
    text.push_str(
        "(core module $memory (memory (export \"memory\") 1)
           (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 1000)))
         (core instance $memory (instantiate $memory))",
    );
    for i in 0..count {
        let _ = write!(
            text,
            "(core func $g{i} (canon lower (func $f{i}) (memory (core memory $memory \"memory\"))))"
        );
    }
    text.push_str("(core module $m (import \"memory\" \"memory\" (memory 1))");
    for i in 0..count {
        let _ = write!(text, "(import \"p\" \"f{i}\" (func (param i32 i32)))");
    }
    // It answers `null`.
    text.push_str(
        "(func (export \"run\") (result i32)
           (i32.store (i32.const 1004) (i32.const 2000)) (i32.store (i32.const 1008) (i32.const 4))
           (i32.store (i32.const 2000) (i32.const 0x6c6c756e)) (i32.const 1000)))
         (core instance $i (instantiate $m (with \"memory\" (instance $memory)) (with \"p\" (instance ",
    );
    for i in 0..count {
        let _ = write!(text, "(export \"f{i}\" (func $g{i}))");
    }
    text.push_str(
        "))))
         (func (export \"run\") (result (result string (error string))) (canon lift (core func $i \"run\")
           (memory (core memory $memory \"memory\")) (realloc (core func $memory \"realloc\")))))
         (instance $part (instantiate $part)) (instance $caller (instantiate $caller",
    );
    for i in 0..count {
        let _ = write!(text, "(with \"f{i}\" (func $part \"f{i}\"))");
    }
    text.push_str(")) (export \"run\" (func $caller \"run\")))");
    wat::parse_str(text).unwrap()
}

/// What the functions take: the same in both parts.
fn types(count: usize) -> String {
    let mut next = random(SEED);
    let mut text = String::new();
    for (j, item) in ITEMS.into_iter().enumerate() {
        let _ = write!(text, "(type $l{j} (list {item}))");
    }
    for i in 0..count {
        let lists: String = (0..LISTS)
            .map(|_| format!(" $l{}", next() % ITEMS.len() as u64))
            .collect();
        let _ = write!(text, "(type $u{i} (tuple{lists}))(type $t{i} (list $u{i}))");
    }
    text
}
