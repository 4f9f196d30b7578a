;;! what = "Empty log lines without end."
;;! template = "context"
;;! [limits]
;;! fuel = 1000000000
;;! log_lines = 100
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (loop $l (call $log (i32.const 3) (i32.const 0) (i32.const 0)) (br $l))
  unreachable)
