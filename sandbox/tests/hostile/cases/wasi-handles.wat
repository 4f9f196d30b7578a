;;! what = "Streams of a folder's entries without end."
;;! template = "wasi"
;;! [expect]
;;! end = "limit"
;;! limit = "handles"
;;! value = 8192
(func (export "run") (result i32) (local $h i32)
  (local.set $h (call $inputs))
  (loop $l (call $rd (local.get $h) (i32.const 16)) (call $must-work) (br $l))
  unreachable)
