;;! what = "The guest never gives the room that the host asks for."
;;! template = "context"
;;! realloc = "(loop $l (br $l))"
;;! [limits]
;;! fuel = 100000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(func (export "run") (result i32)
  (call $params (i32.const 16)) (call $ok))
