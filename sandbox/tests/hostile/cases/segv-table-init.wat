;;! what = "A table initialised from behind a segment's end."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(table $t 4 funcref) (func $g) (elem func $g)
(func (export "run") (result i32)
  (table.init $t 0 (i32.const 0) (i32.const 2) (i32.const -1)) (call $ok))
