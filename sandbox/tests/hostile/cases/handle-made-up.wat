;;! what = "A handle that nobody gave."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (drop (call $size (i32.const 77))) (call $ok))
