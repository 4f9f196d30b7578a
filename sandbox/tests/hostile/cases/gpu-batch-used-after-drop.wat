;;! what = "A batch is used after its handle was dropped."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $h i32) (local $other i32)
  (local.set $other (call $batch)) (local.set $h (call $batch))
  (call $drop-batch (local.get $h)) (call $submit (local.get $h) (i32.const 64))
  (i32.const 0))
