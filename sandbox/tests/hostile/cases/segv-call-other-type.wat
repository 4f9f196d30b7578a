;;! what = "A call through an entry of another type: an integer taken for a function's argument."
;;! template = "plain"
;;! [expect]
;;! end = "trap"
;;! kind = "indirect-call"
(type $f (func (param i64))) (func $g (param f32)) (table $t 4 funcref) (elem (i32.const 0) $g)
(func (export "run") (result i32)
  (call_indirect $t (type $f) (i64.const -1) (i32.const 0)) (call $ok))
