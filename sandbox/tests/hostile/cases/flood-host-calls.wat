;;! what = "The cheapest host call, again and again."
;;! template = "context"
;;! [limits]
;;! fuel = 1000000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (drop (call $now)) (br $l))
  unreachable)
