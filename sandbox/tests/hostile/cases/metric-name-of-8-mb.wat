;;! what = "A metric with a name of 8 MB."
;;! template = "context"
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
;;! says = "is no name for a metric"
(func (export "run") (result i32)
  (call $metric (i32.const 4096) (i32.const 8000000) (i64.const 0) (f64.const 1)) (call $ok))
