;;! what = "Writes and checkpoints of 10 MB, more than a chunk: the answer is that of the interface."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32) (local $h i32)
  (local.set $h (call $out))
  (call $write (local.get $h) (i32.const 1024) (i32.const 10000000) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $save (i32.const 1024) (i32.const 10000000) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $ok))
