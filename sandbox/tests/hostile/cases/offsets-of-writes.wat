;;! what = "Writes longer than a chunk are refused before a byte is copied."
;;! template = "context"
;;! [expect]
;;! end = "ok"
(func (export "run") (result i32)
  (local $h i32) (local.set $h (call $out))
  (call $write (local.get $h) (i32.const 0) (i32.const 8388609) (i32.const 16)) (call $must-fail (i32.const 16))
  (call $ok))
