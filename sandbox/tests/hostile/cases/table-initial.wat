;;! what = "A table of ten million elements from the start."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "table"
;;! value = 1000000
(table $t 10000000 funcref)
(func (export "run") (result i32)
  (call $ok))
