;;! what = "An input is dropped as an output."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (call $drop-output (call $data)) (call $ok))
