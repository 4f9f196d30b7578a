;;! what = "Output without end."
;;! template = "context"
;;! [limits]
;;! output_bytes = 33554432
;;! [expect]
;;! end = "limit"
;;! limit = "output"
;;! value = 33554432
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (local.set $h (call $out)) (loop $l (call $write (local.get $h) (i32.const 0) (i32.const 8388608) (i32.const 16)) (br $l))
  unreachable)
