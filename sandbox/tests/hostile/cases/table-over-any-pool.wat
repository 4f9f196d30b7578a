;;! what = "A table of twenty million elements from the start, more than any pool has: the limit is named all the same."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "table"
;;! value = 1000000
(table $t 20000000 funcref)
(func (export "run") (result i32)
  (call $ok))
