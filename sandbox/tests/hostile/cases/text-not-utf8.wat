;;! what = "A log line that is no UTF-8."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (i32.store (i32.const 128) (i32.const 0xfffefdfc)) (call $log (i32.const 1) (i32.const 128) (i32.const 4)) (call $ok))
