;;! what = "A kernel is used after its handle was dropped."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $h i32) (local $other i32)
  (local.set $other (call $batch)) (local.set $h (call $kernel))
  (call $drop-kernel (local.get $h)) (call $dispatch (local.get $other) (local.get $h) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 64))
  (i32.const 0))
