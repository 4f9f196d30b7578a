;;! what = "A call through an empty table entry."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "indirect-call"
(type $f (func)) (table $t 4 funcref)
(func (export "run") (result i32)
  (call_indirect $t (type $f) (i32.const 0)) (call $ok))
