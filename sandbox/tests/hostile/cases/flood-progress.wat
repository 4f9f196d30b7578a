;;! what = "Progress reports without end, beyond the whole."
;;! template = "context"
;;! [limits]
;;! fuel = 1000000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (call $progress (i32.const -1) (i32.const 1048576) (i32.const 65536)) (br $l))
  unreachable)
