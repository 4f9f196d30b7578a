;;! what = "An output's handle where an input's belongs."
;;! template = "context"
;;! inputs = { data = 100 }
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(func (export "run") (result i32)
  (drop (call $size (call $out))) (call $ok))
