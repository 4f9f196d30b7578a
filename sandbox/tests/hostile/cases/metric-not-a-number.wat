;;! what = "A metric that is no number."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $metric (i32.const 68) (i32.const 4) (i64.const 0) (f64.const nan)) (call $ok))
