;;! what = "A call through a table entry that does not exist."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "out-of-bounds"
(type $f (func)) (table $t 4 funcref)
(func (export "run") (result i32)
  (call_indirect $t (type $f) (i32.const -1)) (call $ok))
