;;! what = "A log level that does not exist."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $log (i32.const 255) (i32.const 64) (i32.const 4)) (call $ok))
