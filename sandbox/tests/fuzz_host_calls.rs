//! Fuzzing host calls: a guest makes whatever calls its input says, with whatever arguments. Every end is the guest's own; the
//! host neither fails nor panics nor hangs.
//!
//! Runs for `AEVIR_FUZZ_SECONDS` (30 when unset). The corpus stands under `tests/__fuzz__/call/corpus`.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Mutex;

use aevir_sandbox::End;
use support::{Bench, fuzz_time, hostile_template};
use tokio::runtime::Runtime;

/// Bytes of the calls of one run: a call takes 32.
const INPUT_BYTES_MAX: usize = 8 * 1024;

/// Reads its input `data` and makes a call for each 32 bytes: which one, two words, a long, a word and a float. Half of the
/// pointers and handles are made good ones, so that more than the first call is reached.
const BODY: &str = r#"
    (global $at (mut i32) (i32.const 2097152))
    (func $word (param $offset i32) (result i32)
      (i32.load (i32.add (global.get $at) (local.get $offset))))
    ;; A pointer: small if the call's second byte is even.
    (func $pointer (param $offset i32) (result i32)
      (if (result i32) (i32.and (i32.load8_u offset=1 (global.get $at)) (i32.const 1))
        (then (call $word (local.get $offset)))
        (else (i32.and (call $word (local.get $offset)) (i32.const 0xffff)))))
    ;; A handle: one of the first if the call's third byte is even.
    (func $handle (result i32)
      (if (result i32) (i32.and (i32.load8_u offset=2 (global.get $at)) (i32.const 1))
        (then (call $word (i32.const 4)))
        (else (i32.and (call $word (i32.const 4)) (i32.const 3)))))
    (func $len (param $offset i32) (result i32)
      (if (result i32) (i32.and (i32.load8_u offset=3 (global.get $at)) (i32.const 1))
        (then (call $word (local.get $offset)))
        (else (i32.and (call $word (local.get $offset)) (i32.const 0xff)))))
    (func $one
      (local $long i64) (local $float f64)
      (local.set $long (i64.load offset=16 (global.get $at)))
      (local.set $float (f64.load offset=24 (global.get $at)))
      (block $13 (block $12 (block $11 (block $10 (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2
      (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $12 $13
          (i32.rem_u (i32.load8_u (global.get $at)) (i32.const 14))))
        (call $params (call $pointer (i32.const 4))) (return))
        (drop (call $seed)) (drop (call $now)) (return))
        (call $open (i32.const 68) (i32.const 4) (call $pointer (i32.const 4))) (return))
        (call $open (call $pointer (i32.const 4)) (call $len (i32.const 8)) (call $pointer (i32.const 12))) (return))
        (drop (call $size (call $handle))) (return))
        (call $read (call $handle) (local.get $long) (call $len (i32.const 8)) (call $pointer (i32.const 12))) (return))
        (call $create (call $pointer (i32.const 4)) (call $len (i32.const 8)) (call $pointer (i32.const 12))) (return))
        (call $write (call $handle) (call $pointer (i32.const 8)) (call $len (i32.const 12)) (i32.const 16)) (return))
        (call $log (i32.and (call $handle) (i32.const 7)) (call $pointer (i32.const 8)) (call $len (i32.const 12))) (return))
        (call $progress (call $word (i32.const 4)) (call $pointer (i32.const 8)) (call $len (i32.const 12))) (return))
        (call $metric (call $pointer (i32.const 4)) (call $len (i32.const 8)) (local.get $long) (local.get $float)) (return))
        (call $save (call $pointer (i32.const 4)) (call $len (i32.const 8)) (call $pointer (i32.const 12))) (return))
        (call $last (call $pointer (i32.const 4))) (return))
      (if (i32.and (call $word (i32.const 8)) (i32.const 1))
        (then (call $drop-input (call $handle)))
        (else (call $drop-output (call $handle)))))
    (func (export "run") (result i32) (local $end i32)
      (call $read (call $data) (i64.const 0) (i32.const 1048576) (i32.const 16))
      (memory.copy (i32.const 2097152) (i32.load (i32.const 20)) (i32.load (i32.const 24)))
      (local.set $end (i32.add (i32.const 2097152) (i32.load (i32.const 24))))
      (block $done (loop $next
        (br_if $done (i32.gt_u (i32.add (global.get $at) (i32.const 32)) (local.get $end)))
        (call $one)
        (global.set $at (i32.add (global.get $at) (i32.const 32)))
        (br $next)))
      (call $ok))
"#;

#[test]
fn call() {
    let module = wat::parse_str(hostile_template("context", BODY, "")).unwrap();
    let bench = Bench::new(&module).limits(|limits| {
        limits.fuel = 50_000_000;
        limits.wall_ms = 20_000;
    });
    let host = Mutex::new((Runtime::new().unwrap(), bench));
    bolero::check!()
        .with_max_len(INPUT_BYTES_MAX)
        .with_test_time(fuzz_time())
        .for_each(|bytes: &[u8]| {
            let mut host = host.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (runtime, bench) = &mut *host;
            bench.spec.inputs.clear();
            bench.add_input("data", bytes);
            let ran = runtime.block_on(bench.run());
            let end = &ran.outcome.end;
            let bad = matches!(end, End::HostError { .. } | End::Cancelled)
                || matches!(end, End::Limit { limit, .. } if limit == "wall");
            assert!(!bad, "{end:?}");
        });
}
