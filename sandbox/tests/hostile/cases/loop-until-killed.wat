;;! what = "A loop with more fuel than time: the process is killed at the deadline."
;;! template = "plain"
;;! [limits]
;;! wall_ms = 400
;;! [expect]
;;! end = "limit"
;;! limit = "wall"
;;! value = 400
(func (export "run") (result i32)
  (loop $l (br $l)) unreachable)
