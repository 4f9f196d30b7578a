;;! what = "A metric whose millionths no integer holds."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $metric (i32.const 68) (i32.const 4) (i64.const -1) (f64.const 9223372036854.775808)) (call $ok))
