;;! what = "Kernel and buffers are dropped between a dispatch and its submission, and a batch that was submitted: what is in use stays."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "ok"
;;! result = '"00000007"'
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $a i32) (local $b i32) (local $k i32) (local $batch i32)
  (local.set $a (call $buffer (i64.const 64))) (local.set $b (call $buffer (i64.const 64)))
  (local.set $k (call $kernel)) (local.set $batch (call $batch))
  (i32.store (i32.const 32768) (local.get $a))
  (call $dispatch (local.get $batch) (local.get $k) (i32.const 32768) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 64))
  (call $must-work)
  (call $copy (local.get $batch) (local.get $a) (i64.const 0) (local.get $b) (i64.const 0) (i64.const 4) (i32.const 64)) (call $must-work)
  (call $drop-kernel (local.get $k)) (call $drop-buffer (local.get $a))
  (call $submit (local.get $batch) (i32.const 64)) (call $must-work)
  (call $drop-batch (local.get $batch))
  (call $read (local.get $b) (i64.const 0) (i32.const 4) (i32.const 64)) (call $must-work)
  (call $answer (i32.load (i32.load (i32.const 68))))
  (i32.const 0))
