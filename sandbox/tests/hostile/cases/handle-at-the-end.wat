;;! what = "The largest handle there is."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (drop (call $size (i32.const -1))) (call $ok))
