;;! what = "Batches that are filled and dropped: what waited in them is given back."
;;! template = "kernel"
;;! gpu = true
;;! [expect]
;;! end = "ok"
;;! result = '"00000000"'
;;! [bounds]
;;! run_ms = 60000
;;! peak_mib = 640
(func $attack (result i32) (local $a i32) (local $b i32) (local $batch i32) (local $i i32) (local $round i32)
  (local.set $a (call $buffer (i64.const 64))) (local.set $b (call $buffer (i64.const 64)))
  (loop $batches
    (local.set $batch (call $batch)) (local.set $i (i32.const 0))
    (loop $l
      (call $copy (local.get $batch) (local.get $a) (i64.const 0) (local.get $b) (i64.const 0) (i64.const 4) (i32.const 64))
      (call $must-work)
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
    (call $drop-batch (local.get $batch))
    (br_if $batches (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 40))))
  (call $failed))
