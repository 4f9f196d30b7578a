;;! what = "Tail calls without end: no stack is used, so the fuel ends it."
;;! template = "plain"
;;! [limits]
;;! fuel = 100000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(func $deep (return_call $deep))
(func (export "run") (result i32)
  (call $deep) (call $ok))
