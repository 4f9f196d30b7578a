;;! what = "A checkpoint longer than a chunk is refused, and costs nothing but the call."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32)
  (call $save (i32.const 0) (i32.const 8388609) (i32.const 16)) (call $must-fail (i32.const 16)) (call $ok))
