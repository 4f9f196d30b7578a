//! What each kind of expression costs a driver's compiler: the figures behind the weights of `src/kernel/weight.rs`.
//!
//!     cargo test --release -p aevir-gpu --test compile_cost -- --ignored --nocapture
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use aevir_gpu::kernel::instrument;
use aevir_gpu::{GpuError, GpuLimits, Session};
use support::session;

/// Statements of the shorter and of the longer kernel; what one costs is the difference over the difference.
const LENGTHS: [usize; 2] = [100, 400];
/// Tries of each, of which the fastest counts.
const TRIES: usize = 2;

/// Stand for values that live through a kernel: see [`live`].
const LIVE: &str = "live";
const LIVE_THROUGH_LOOPS: &str = "live, loops";
const LIVE_THROUGH_BRANCHES: &str = "live, branches";
const LIVE_TRANSCENDENTAL: &str = "live, transcendental";
const LIVE_VECTORS: &str = "live, vectors";

/// Each kind: a name, and a statement over `f: f32`, `i: i32`, `u: u32`, `v: vec4f`, `m: mat4x4f` that can't be left out.
const KINDS: &[(&str, &str)] = &[
    ("copy", "f = g; g = h; h = f;"),
    ("add", "f = f + g;"),
    ("multiply", "f = f * g;"),
    ("divide", "f = f / g;"),
    ("modulo", "f = f % g;"),
    ("less, select", "f = select(f, g, f < h);"),
    ("min", "f = min(f, g);"),
    ("clamp", "f = clamp(f, g, h);"),
    ("abs", "f = abs(f) - g;"),
    ("floor", "f = floor(f) * g;"),
    ("round", "f = round(f) * g;"),
    ("fract", "f = fract(f) * g;"),
    ("sign", "f = sign(f) + g;"),
    ("fma", "f = fma(f, g, h);"),
    ("sqrt", "f = sqrt(f) + g;"),
    ("inverseSqrt", "f = inverseSqrt(f) + g;"),
    ("exp", "f = exp(f) - g;"),
    ("exp2", "f = exp2(f) - g;"),
    ("log", "f = log(f) - g;"),
    ("log2", "f = log2(f) - g;"),
    ("pow", "f = pow(f, g);"),
    ("sin", "f = sin(f) + g;"),
    ("cos", "f = cos(f) + g;"),
    ("tan", "f = tan(f) + g;"),
    ("asin", "f = asin(f) + g;"),
    ("acos", "f = acos(f) + g;"),
    ("atan", "f = atan(f) + g;"),
    ("atan2", "f = atan2(f, g);"),
    ("sinh", "f = sinh(f) + g;"),
    ("cosh", "f = cosh(f) + g;"),
    ("tanh", "f = tanh(f) + g;"),
    ("asinh", "f = asinh(f) + g;"),
    ("acosh", "f = acosh(f) + g;"),
    ("atanh", "f = atanh(f) + g;"),
    ("mix", "f = mix(f, g, h);"),
    ("step", "f = step(f, g) + h;"),
    ("smoothstep", "f = smoothstep(g, h, f) + g;"),
    ("modf", "f = modf(f).fract + g;"),
    ("frexp", "f = frexp(f).fract + g;"),
    ("ldexp", "f = ldexp(f, i);"),
    ("quantizeToF16", "f = quantizeToF16(f) + g;"),
    ("length", "f = length(v) + f; v.x = f;"),
    ("distance", "f = distance(v, w) + f; v.x = f;"),
    ("normalize", "v = normalize(v) + w;"),
    ("dot", "f = dot(v, w) + f; v.x = f;"),
    ("cross", "c = cross(c, v.xyz) + c;"),
    ("reflect", "v = reflect(v, w);"),
    ("refract", "v = refract(v, w, f);"),
    ("vec4 add", "v = v + w;"),
    ("vec4 sin", "v = sin(v) + w;"),
    ("vec4 pow", "v = pow(v, w);"),
    ("vec4 atan2", "v = atan2(v, w);"),
    ("vec4 tan", "v = tan(v) + w;"),
    ("vec4 acosh", "v = acosh(v) + w;"),
    ("vec4 divide", "v = v / w;"),
    ("swizzle", "v = v.wzyx;"),
    ("mat4 * vec4", "v = m * v;"),
    ("mat4 * mat4", "m = m * m;"),
    ("mat4 add", "m = m + m;"),
    ("transpose", "m = transpose(m);"),
    ("determinant", "f = determinant(m) + f; m[0][0] = f;"),
    ("outer", "m = m * f; f = m[1][2];"),
    ("integer add", "u = u + s;"),
    ("integer multiply", "u = u * s;"),
    ("integer divide", "u = u / s;"),
    ("signed divide", "i = i / j;"),
    ("signed modulo", "i = i % j;"),
    ("shift", "u = u << s;"),
    ("i32(f32)", "i = i32(f); f = f32(i);"),
    ("bitcast", "f = bitcast<f32>(u); u = bitcast<u32>(f) + s;"),
    ("countOneBits", "u = countOneBits(u) + s;"),
    ("firstLeadingBit", "u = firstLeadingBit(u) + s;"),
    ("reverseBits", "u = reverseBits(u) + s;"),
    ("extractBits", "u = extractBits(u, s, 5u);"),
    ("insertBits", "u = insertBits(u, s, s, 5u);"),
    (
        "pack4x8unorm",
        "u = pack4x8unorm(v); v = unpack4x8unorm(u);",
    ),
    (
        "pack2x16float",
        "u = pack2x16float(v.xy); v.x = unpack2x16float(u).x;",
    ),
    ("dot4U8Packed", "u = dot4U8Packed(u, s);"),
    ("storage read", "f = f + data[u]; u = u + s;"),
    ("storage write", "data[u] = f; u = u + s;"),
    ("uniform read", "v = v + even[u];"),
    ("workgroup read", "f = f + pool[u]; u = u + s;"),
    ("workgroup write", "pool[u] = f; u = u + s;"),
    ("private, indexed", "f = f + own[u]; own[s] = f;"),
    ("local, indexed", "f = f + local[u]; local[s] = f;"),
    ("private, named", "f = f + own[3]; own[2] = f;"),
    ("arrayLength", "u = u + arrayLength(&data);"),
    ("atomicAdd", "u = u + atomicAdd(&counts[u], s);"),
    (
        "atomicExchangeWeak",
        "u = atomicCompareExchangeWeak(&counts[s], u, s).old_value;",
    ),
    ("workgroupBarrier", "workgroupBarrier();"),
    ("storageBarrier", "storageBarrier();"),
    ("if", "if f < g { f = f + h; }"),
    ("if else", "if f < g { f = f + h; } else { f = f * g; }"),
    ("loop", "for (var k = 0u; k < s; k++) { f = f + g; }"),
    (
        "switch",
        "switch u { case 1u: { f = g; } case 2u: { f = h; } default: { f = f + g; } }",
    ),
    ("call", "f = helper(f, g);"),
    ("struct", "pair = Pair(pair.b, pair.a); f = pair.a.x;"),
    ("array of 16 copied", "few = others; others[u] = f;"),
    ("live values", LIVE),
    ("live through loops", LIVE_THROUGH_LOOPS),
    ("live through branches", LIVE_THROUGH_BRANCHES),
    ("live transcendental", LIVE_TRANSCENDENTAL),
    ("live vectors", LIVE_VECTORS),
    ("array of 256 copied", "many = large; large[u] = f;"),
];

/// So many values, which all live until they are used in the other order, and a statement between for every fourth.
fn live(times: usize, step: &str, between: &str) -> String {
    let begin = (0..times).map(|n| format!("{step} let x{n} = f * {n}.5 + g;\n"));
    let middle = (0..times / 4).map(|_| format!("{between}\n"));
    let end = (0..times).rev().map(|n| format!("f = f * x{n} + h;\n"));
    begin.chain(middle).chain(end).collect()
}

fn kernel(statement: &str, times: usize, salt: usize) -> String {
    let body = match statement {
        LIVE => live(times, "", "f = f + g;"),
        LIVE_THROUGH_LOOPS => live(times, "", "for (var k = 0u; k < s; k++) { f = f + g; }"),
        LIVE_THROUGH_BRANCHES => live(times, "", "if f < g { f = f + h; } else { f = f * g; }"),
        LIVE_TRANSCENDENTAL => live(times, "f = atan2(f, g);", "f = f + g;"),
        LIVE_VECTORS => live(times, "v = pow(v, w); f = v.x;", "v = v * w + pow(v, w);"),
        _ => vec![statement; times].join("\n"),
    };
    format!(
        "struct Pair {{ a: vec4f, b: vec4f }}
@group(0) @binding(0) var<storage, read_write> data: array<f32>;
@group(0) @binding(1) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> even: array<vec4f, 16>;
var<workgroup> pool: array<f32, 256>;
var<private> own: array<f32, 64>;
fn helper(a: f32, b: f32) -> f32 {{ return a * b + 1.0; }}
@compute @workgroup_size(1) fn main() {{
    var f = data[0]; var g = data[1]; var h = data[2]; var i = i32(data[3]); var j = i32(data[4]);
    var u = u32(data[5]); var s = u32(data[6]) + {salt}u;
    var v = vec4f(data[7], data[8], data[9], data[10]); var w = vec4f(data[11], data[12], data[13], data[14]);
    var c = v.xyz; var m = mat4x4f(v, w, v, w); var pair = Pair(v, w);
    var local: array<f32, 64>; var few: array<f32, 16>; var others: array<f32, 16>;
    var many: array<f32, 256>; var large: array<f32, 256>;
    {body}
    data[0] = f + g + h + f32(i) + f32(j) + f32(u) + v.x + v.y + v.z + v.w + c.x + m[0][1] + m[3][2] + pair.a.x;
    data[1] = own[u] + pool[u] + local[u] + few[u] + many[u] + even[u].x + f32(atomicLoad(&counts[0]));
}}"
    )
}

/// How long the driver takes from the source to the first result.
fn compile(session: &mut Session, statement: &str, times: usize, salt: usize) -> Option<Duration> {
    let wgsl = kernel(statement, times, salt);
    let [data, counts, even] = [256; 3].map(|size| session.create_buffer(size).unwrap());
    let started = Instant::now();
    let kernel = match session.create_kernel(&wgsl, "main", &[]) {
        Ok(kernel) => kernel,
        Err(GpuError::Limit { .. }) => return None,
        Err(error) => panic!("{statement}: {error}"),
    };
    let mut batch = session.create_batch();
    // No workgroups: the code is made and not run.
    batch
        .dispatch(&kernel, &[&data, &counts, &even], [0, 1, 1])
        .unwrap();
    session.submit(batch).unwrap();
    session.finish().unwrap();
    Some(started.elapsed())
}

/// Kinds of which a kernel is made that is as large as it may be.
const LARGEST: [&str; 25] = [
    "live values",
    "live through loops",
    "live through branches",
    "live transcendental",
    "live vectors",
    "add",
    "vec4 atan2",
    "vec4 pow",
    "vec4 acosh",
    "vec4 tan",
    "vec4 sin",
    "loop",
    "switch",
    "if else",
    "storage read",
    "storage write",
    "workgroup read",
    "local, indexed",
    "atomicAdd",
    "insertBits",
    "pack2x16float",
    "dot4U8Packed",
    "mat4 * mat4",
    "signed modulo",
    "array of 16 copied",
];

#[test]
#[ignore = "measures, and takes minutes"]
fn largest_kernel_of_each_kind() {
    let only = std::env::var("AEVIR_KIND").unwrap_or_default();
    let fits = |statement: &str, times: usize| {
        instrument(
            &kernel(statement, times, 0),
            "main",
            &[],
            &GpuLimits::default(),
        )
        .is_ok()
    };
    for name in LARGEST.iter().filter(|name| name.contains(&only)) {
        let (_, statement) = KINDS.iter().find(|(kind, _)| kind == name).unwrap();
        let (mut least, mut most) = (0, 8192);
        while most - least > 1 {
            let middle = (least + most) / 2;
            match fits(statement, middle) {
                true => least = middle,
                false => most = middle,
            }
        }
        let mut session = session(GpuLimits::default());
        // Since now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let bytes = kernel(statement, least, 0).len();
        let took = compile(&mut session, statement, least, 0).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap();
        println!(
            "{name}: {least} statements, {bytes} bytes, {:.1} s, {peak}",
            took.as_secs_f64()
        );
    }
}

#[test]
#[ignore = "measures, and takes minutes"]
fn cost_of_each_kind() {
    let only = std::env::var("AEVIR_KIND").unwrap_or_default();
    let mut salt = 0;
    let mut rows = Vec::new();
    for (name, statement) in KINDS.iter().filter(|(name, _)| name.contains(&only)) {
        let [short, long] = LENGTHS.map(|times| {
            let tries = (0..TRIES).map(|_| {
                salt += 1;
                compile(&mut session(GpuLimits::default()), statement, times, salt)
            });
            tries.min().unwrap().map(|time| time.as_secs_f64())
        });
        let (Some(short), Some(long)) = (short, long) else {
            println!("{name}: more than a kernel may be");
            continue;
        };
        let each_us = (long - short) / (LENGTHS[1] - LENGTHS[0]) as f64 * 1e6;
        rows.push((each_us, *name, long));
        println!(
            "{name}: {each_us:.0} us a statement; {:.2} s for {}",
            long, LENGTHS[1]
        );
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("\nfrom the dearest on:");
    for (each_us, name, _) in rows {
        println!("{each_us:>8.0} us  {name}");
    }
}
