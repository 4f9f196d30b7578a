;;! what = "Fifty thousand buffers, each written and dropped."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "ok"
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 180
(func $attack (result i32) (local $b i32) (local $i i32)
  (loop $l (local.set $b (call $buffer (i64.const 4)))
    (call $write (local.get $b) (i64.const 0) (i32.const 0) (i32.const 4) (i32.const 64)) (call $must-work)
    (call $drop-buffer (local.get $b))
    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000))))
  (call $failed))
