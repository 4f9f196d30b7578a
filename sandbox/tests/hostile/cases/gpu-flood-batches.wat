;;! what = "Batches that are filled and never submitted, without end."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "limit"
;;! limit = "gpu-waiting-commands"
;;! value = 65536
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $a i32) (local $b i32) (local $batch i32) (local $i i32)
  (local.set $a (call $buffer (i64.const 64))) (local.set $b (call $buffer (i64.const 64)))
  (block $stop
    (loop $batches
      (local.set $batch (call $batch)) (local.set $i (i32.const 0))
      (loop $l
        (call $copy (local.get $batch) (local.get $a) (i64.const 0) (local.get $b) (i64.const 0) (i64.const 4) (i32.const 64))
        (br_if $stop (call $failed))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
      (br $batches)))
  (call $failed))
