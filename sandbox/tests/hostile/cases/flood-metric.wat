;;! what = "Reports of one metric without end."
;;! template = "context"
;;! [expect]
;;! end = "limit"
;;! limit = "metrics"
;;! value = 100000
;;! [bounds]
;;! run_ms = 20000
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (call $metric (i32.const 68) (i32.const 4) (i64.const 1) (f64.const 1.5)) (br $l))
  unreachable)
