;;! what = "A table that grows until it is refused."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "table"
;;! value = 1000000
(table $t 1 funcref)
(func (export "run") (result i32)
  (loop $l (drop (table.grow $t (ref.null func) (i32.const 65536))) (br $l)) unreachable)
