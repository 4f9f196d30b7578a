;;! what = "A buffer is used after its handle was dropped."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $h i32) (local $other i32)
  (local.set $other (call $batch)) (local.set $h (call $buffer (i64.const 64)))
  (call $drop-buffer (local.get $h)) (drop (call $size (local.get $h)))
  (i32.const 0))
