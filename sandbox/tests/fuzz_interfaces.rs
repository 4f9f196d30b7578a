//! Fuzzing the other interfaces: GPU compute, and WASI as programs for preview 1 reach it. A guest makes whatever calls its input says, with
//! whatever arguments. Every end is the guest's own; the host neither fails nor panics nor hangs.
//!
//! Runs for `AEVIR_FUZZ_SECONDS` (30 when unset) each. The corpus stands under `tests/__fuzz__`.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Mutex;

use aevir_sandbox::{End, prepare_upload};
use support::{Bench, fuzz_time, hostile_template};
use tokio::runtime::Runtime;

/// Bytes of one call: which, how tame, and its arguments.
const CALL_BYTES: usize = 48;
/// Bytes of the calls of one run.
const INPUT_BYTES_MAX: usize = 64 * CALL_BYTES;
/// Where the input stands in the guest's memory.
const INPUT_AT: usize = 4 * 1024 * 1024;

/// A function to call, and its parameters: `h` a handle, `p` a pointer, `l` a length, `w` any word, `L` any long.
type Called = (&'static str, &'static str);

const COMPUTE: [Called; 15] = [
    ("new-buffer", "Lp"),
    ("write", "hLplp"),
    ("read", "hLlp"),
    ("new-kernel", "plplplp"),
    ("new-batch", "p"),
    ("dispatch", "hhplwwwp"),
    ("submit", "hp"),
    ("limits", "p"),
    ("features", "p"),
    ("copy", "hhLhLLp"),
    ("drop-buffer", "h"),
    ("drop-kernel", "h"),
    ("drop-batch", "h"),
    ("good-kernel", ""),
    ("good-buffer", ""),
];

const PREVIEW_1: [Called; 36] = [
    ("args_get", "pp"),
    ("args_sizes_get", "pp"),
    ("environ_get", "pp"),
    ("environ_sizes_get", "pp"),
    ("clock_res_get", "hp"),
    ("clock_time_get", "hLp"),
    ("fd_advise", "hLLh"),
    ("fd_allocate", "hLL"),
    ("fd_close", "h"),
    ("fd_datasync", "h"),
    ("fd_fdstat_get", "hp"),
    ("fd_filestat_get", "hp"),
    ("fd_filestat_set_size", "hL"),
    ("fd_pread", "hplLp"),
    ("fd_prestat_get", "hp"),
    ("fd_prestat_dir_name", "hpl"),
    ("fd_pwrite", "hplLp"),
    ("fd_read", "hplp"),
    ("fd_readdir", "hplLp"),
    ("fd_renumber", "hh"),
    ("fd_seek", "hLhp"),
    ("fd_sync", "h"),
    ("fd_tell", "hp"),
    ("fd_write", "hplp"),
    ("path_create_directory", "hpl"),
    ("path_filestat_get", "hhplp"),
    ("path_link", "hhplhpl"),
    ("path_open", "hhplhLLhp"),
    ("path_readlink", "hplplp"),
    ("path_remove_directory", "hpl"),
    ("path_rename", "hplhpl"),
    ("path_symlink", "plhpl"),
    ("path_unlink_file", "hpl"),
    ("poll_oneoff", "pplp"),
    ("random_get", "pl"),
    ("sched_yield", ""),
];

/// Code that makes the calls between `$at` and `$end`. Half of the arguments are made good ones, so that more than the first call is
/// reached: handles are small, and pointers and lengths stay in memory.
fn player(calls: &[Called], has_results: bool) -> String {
    let mut cases = String::new();
    for (number, (name, parameters)) in calls.iter().enumerate() {
        let arguments = parameters.chars().enumerate().map(|(index, kind)| {
            let at = 4 + 5 * index;
            match kind {
                'h' => format!("(call $tame (i32.const {at}) (i32.const 7))"),
                'p' => format!("(call $tame (i32.const {at}) (i32.const 0xffff8))"),
                'l' => format!("(call $tame (i32.const {at}) (i32.const 0xff))"),
                'w' => format!("(call $tame (i32.const {at}) (i32.const 3))"),
                _ => format!("(call $long (i32.const {at}))"),
            }
        });
        let arguments: Vec<_> = arguments.collect();
        let call = format!("(call ${name} {})", arguments.join(" "));
        let call = if has_results {
            format!("(drop {call})")
        } else {
            call
        };
        cases += &format!(
            "(if (i32.eq (local.get $which) (i32.const {number})) (then {call} (return)))\n"
        );
    }
    let count = calls.len();
    format!(
        "(global $at (mut i32) (i32.const {INPUT_AT}))
         (func $tame (param $offset i32) (param $mask i32) (result i32) (local $word i32)
           (local.set $word (i32.load (i32.add (global.get $at) (local.get $offset))))
           (if (result i32) (i32.and (i32.load8_u offset=1 (global.get $at)) (i32.const 1))
             (then (local.get $word)) (else (i32.and (local.get $word) (local.get $mask)))))
         (func $long (param $offset i32) (result i64) (local $word i64)
           (local.set $word (i64.load (i32.add (global.get $at) (local.get $offset))))
           (if (result i64) (i32.and (i32.load8_u offset=2 (global.get $at)) (i32.const 1))
             (then (local.get $word)) (else (i64.and (local.get $word) (i64.const 0xfc)))))
         (func $one (local $which i32)
           (local.set $which (i32.rem_u (i32.load8_u (global.get $at)) (i32.const {count})))
           {cases})
         (func $play (param $end i32)
           (block $done (loop $next
             (br_if $done (i32.gt_u (i32.add (global.get $at) (i32.const {CALL_BYTES})) (local.get $end)))
             (call $one)
             (global.set $at (i32.add (global.get $at) (i32.const {CALL_BYTES})))
             (br $next))))"
    )
}

/// Plays whatever a fuzzer thinks of; `give` puts the bytes where the guest finds them.
fn fuzz(bench: Bench, give: impl Fn(&mut Bench, &[u8]) + std::panic::RefUnwindSafe) {
    let bench = bench.limits(|limits| {
        limits.fuel = 200_000_000;
        limits.wall_ms = 60_000;
    });
    let host = Mutex::new((Runtime::new().unwrap(), bench));
    bolero::check!()
        .with_max_len(INPUT_BYTES_MAX)
        .with_test_time(fuzz_time())
        .for_each(|bytes: &[u8]| {
            let mut host = host.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (runtime, bench) = &mut *host;
            give(bench, bytes);
            let ran = runtime.block_on(bench.run());
            let end = &ran.outcome.end;
            let bad = matches!(end, End::HostError { .. } | End::Cancelled)
                || matches!(end, End::Limit { limit, .. } if limit == "wall");
            assert!(!bad, "{end:?}");
        });
}

/// The guest that plays calls of GPU compute.
fn compute_bench() -> Bench {
    // The input is the task's parameters, as hexadecimal digits in quotes.
    let body = format!(
        "{}
         (func $good-kernel (drop (call $kernel)))
         (func $good-buffer (drop (call $buffer (i64.const 256))))
         (func $digit (param $at i32) (result i32) (local $c i32)
           (local.set $c (i32.load8_u (local.get $at)))
           (if (result i32) (i32.ge_u (local.get $c) (i32.const 97))
             (then (i32.sub (local.get $c) (i32.const 87))) (else (i32.sub (local.get $c) (i32.const 48)))))
         (func $attack (result i32) (local $from i32) (local $end i32) (local $to i32)
           (call $params (i32.const 64))
           (local.set $from (i32.add (i32.load (i32.const 64)) (i32.const 1)))
           (local.set $end (i32.sub (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 68))) (i32.const 1)))
           (local.set $to (i32.const {INPUT_AT}))
           (block $done (loop $l
             (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
             (i32.store8 (local.get $to) (i32.or
               (i32.shl (call $digit (local.get $from)) (i32.const 4))
               (call $digit (i32.add (local.get $from) (i32.const 1)))))
             (local.set $from (i32.add (local.get $from) (i32.const 2)))
             (local.set $to (i32.add (local.get $to) (i32.const 1)))
             (br $l)))
           (call $play (local.get $to))
           (i32.const 0))",
        player(&COMPUTE, false)
    );
    let module = wat::parse_str(hostile_template("kernel", &body, "")).unwrap();
    Bench::new(&module).gpu()
}

fn give_compute(bench: &mut Bench, bytes: &[u8]) {
    bench.spec.params = format!("\"{}\"", hex::encode(bytes));
}

#[test]
fn compute() {
    fuzz(compute_bench(), give_compute);
}

/// The guests play what they are given, to the GPU and to the files.
#[tokio::test]
async fn what_is_given_is_played() {
    let mut bench = compute_bench();
    give_compute(
        &mut bench,
        include_bytes!("__fuzz__/compute/corpus/dispatch-and-read"),
    );
    let ran = bench.run().await;
    assert_eq!(ran.outcome.end, End::Ok);
    let usage = &ran.outcome.usage;
    assert_eq!((usage.gpu_dispatches, usage.gpu_bytes_out), (1, 4));
    let mut bench = wasi_bench();
    give_wasi(
        &mut bench,
        include_bytes!("__fuzz__/wasi/corpus/directories"),
    );
    let played = bench.run().await.outcome;
    give_wasi(&mut bench, &[]);
    let idle = bench.run().await.outcome;
    assert_eq!((&played.end, &idle.end), (&End::Ok, &End::Ok));
    assert!(
        played.usage.fuel > idle.usage.fuel + 20_000,
        "no folder was listed"
    );
}

/// The guest that plays calls of a WASI program.
fn wasi_bench() -> Bench {
    let wasm = |kind| match kind {
        'L' => "i64",
        _ => "i32",
    };
    let imports = PREVIEW_1.iter().map(|(name, parameters)| {
        let parameters: Vec<_> = parameters.chars().map(wasm).collect();
        let parameters = parameters.join(" ");
        format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {parameters}) (result i32)))\n"
        )
    });
    let imports: String = imports.collect();
    // The input is standard input, read by one call.
    let text = format!(
        "(module {imports}
           (memory (export \"memory\") 80)
           {}
           (func (export \"_start\") (local $read i32)
             (i32.store (i32.const 0) (i32.const {INPUT_AT})) (i32.store (i32.const 4) (i32.const {INPUT_BYTES_MAX}))
             (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
             (call $play (i32.add (i32.const {INPUT_AT}) (i32.load (i32.const 8))))))",
        player(&PREVIEW_1, true)
    );
    let module = wat::parse_str(text).unwrap();
    let component = prepare_upload(&module).unwrap().component.into_owned();
    Bench::new(&component)
}

fn give_wasi(bench: &mut Bench, bytes: &[u8]) {
    bench.spec.inputs.clear();
    bench.add_input("stdin", bytes);
    bench.add_input("a/b", b"some bytes");
}

#[test]
fn wasi() {
    fuzz(wasi_bench(), give_wasi);
}
