;;! what = "A dispatch with 16,000 bindings: each handle that is looked at is paid for."
;;! template = "kernel"
;;! gpu = true
;;! [limits]
;;! fuel = 50000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 50000000
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $b i32) (local $k i32) (local $batch i32) (local $i i32)
  (local.set $b (call $buffer (i64.const 64))) (local.set $k (call $kernel)) (local.set $batch (call $batch))
  (loop $fill (i32.store (i32.add (i32.const 2097152) (i32.shl (local.get $i) (i32.const 2))) (local.get $b))
    (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16000))))
  (loop $l
    (call $dispatch (local.get $batch) (local.get $k) (i32.const 2097152) (i32.const 16000) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 64))
    (call $must-fail) (br $l))
  unreachable)
