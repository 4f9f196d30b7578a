;;! what = "A loop in a start function, before anything is called."
;;! template = "plain"
;;! [limits]
;;! fuel = 100000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 100000000
(func $start (loop $l (br $l)))
(start $start)
(func (export "run") (result i32)
  (call $ok))
