//! Kernels out of a grammar: valid WGSL with loops of every kind, branches, calls and barriers, whose results are the same on
//! every adapter (integers only) and which end (every loop counts).
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use proptest::collection::vec;
use proptest::prelude::*;

/// Invocations of a workgroup.
pub const WORKGROUP: u32 = 32;
/// Words that each of the two buffers must have.
pub const WORDS: usize = 256;

/// Deepest nesting of statements.
const DEPTH: u32 = 2;
/// About how many statements one statement may hold. Software adapters take a second to compile a page of code.
const STATEMENTS: u32 = 8;

/// A kernel with an entry point `main`, a read-only buffer at binding 0 and a writable one at binding 1.
pub fn kernel() -> impl Strategy<Value = String> {
    let helper = || vec(statement(0), 1..3);
    let stage = vec(statement(2), 1..4);
    (helper(), helper(), vec(stage, 1..3), 1u32..4).prop_map(|(first, second, stages, rounds)| {
        let stages: String = stages
            .iter()
            .map(|stage| format!("{}\n{EXCHANGE}\n", stage.concat()))
            .collect();
        format!(
            "@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> target_words: array<u32>;
var<workgroup> shared_words: array<u32, {WORKGROUP}>;
var<private> calls: u32;
fn f0(p: u32, q: u32) -> u32 {{
    var a = p; var b = q; var c = 3u; calls++;
    {}
    return a ^ b ^ c;
}}
fn f1(p: u32, q: u32) -> u32 {{
    var a = f0(q, p); var b = q; var c = p; calls++;
    {}
    return a + b + c;
}}
@compute @workgroup_size({WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {{
    var a = source[id.x % 256u]; var b = id.x; var c = 1u;
    for (var round = 0u; round < {rounds}u; round++) {{
    {stages}
    }}
    target_words[id.x % 256u] = a ^ (b << 1u) ^ (c << 2u) ^ calls;
}}
",
            first.concat(),
            second.concat(),
        )
    })
}

/// What invocations tell each other, in uniform flow.
const EXCHANGE: &str = "shared_words[lane] = a + b;
    workgroupBarrier();
    c ^= shared_words[(lane + 1u) % 32u];
    workgroupBarrier();";

/// A statement that may call helpers of a number below `helpers`.
fn statement(helpers: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        4 => (variable(), "[+*^|&-]", expression(helpers))
            .prop_map(|(to, operator, value)| format!("{to} {operator}= {value};\n")),
        1 => (variable(), expression(helpers)).prop_map(|(to, value)| format!("{to} = {value};\n")),
    ];
    leaf.prop_recursive(DEPTH, STATEMENTS, 3, move |inner| {
        let block = vec(inner, 1..3).prop_map(|statements| statements.concat());
        prop_oneof![
            (condition(), block.clone(), block.clone())
                .prop_map(|(when, yes, no)| format!("if {when} {{ {yes} }} else {{ {no} }}\n")),
            (0u32..6, block.clone(), leave()).prop_map(|(times, body, leave)| format!(
                "for (var i = 0u; i < {times}u; i++) {{ {body} {leave} }}\n"
            )),
            (1u32..6, block.clone(), leave()).prop_map(|(times, body, leave)| format!(
                "{{ var n = {times}u; while n > 0u {{ n--; {body} {leave} }} }}\n"
            )),
            (1u32..6, block.clone(), block.clone()).prop_map(|(times, body, after)| format!(
                "{{ var n = 0u; loop {{ {body} continuing {{ n++; {after} break if n >= {times}u; }} }} }}\n"
            )),
            (variable(), block.clone(), block.clone(), block).prop_map(
                |(on, first, second, other)| format!(
                    "switch {on} % 4u {{ case 0u: {{ {first} }} case 1u, 2u: {{ {second} }} default: {{ {other} }} }}\n"
                )
            ),
        ]
    })
    .boxed()
}

/// How a loop may be left early, or not.
fn leave() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        condition().prop_map(|when| format!("if {when} {{ break; }}")),
        condition().prop_map(|when| format!("if {when} {{ continue; }}")),
    ]
}

fn variable() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn condition() -> impl Strategy<Value = String> {
    (variable(), "(<|>|==|!=)", variable(), 1u32..9)
        .prop_map(|(left, operator, right, n)| format!("({left} % {n}u) {operator} ({right} % 3u)"))
}

fn expression(helpers: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        variable().prop_map(str::to_owned),
        (0u32..100).prop_map(|n| format!("{n}u")),
        variable().prop_map(|at| format!("source[{at} % 256u]")),
        // Out of bounds: both must do the same.
        variable().prop_map(|at| format!("source[{at}]")),
    ];
    let leaf = leaf.boxed();
    // Never two constants, whose overflow or division by zero is an error at compile time.
    let pair = (variable(), "[+*^/%-]", leaf.clone()).prop_map(|(left, operator, right)| {
        match operator.as_str() {
            "/" | "%" => format!("({left} {operator} ({right} | 1u))"),
            _ => format!("({left} {operator} {right})"),
        }
    });
    match helpers {
        0 => prop_oneof![leaf, pair].boxed(),
        _ => {
            let call = (0..helpers, leaf.clone(), leaf.clone())
                .prop_map(|(number, p, q)| format!("f{number}({p}, {q})"));
            prop_oneof![leaf, pair, call].boxed()
        }
    }
}
