;;! what = "A loop in `run` that never ends."
;;! template = "plain"
;;! [limits]
;;! fuel = 100000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 100000000
(func (export "run") (result i32)
  (loop $l (br $l)) unreachable)
