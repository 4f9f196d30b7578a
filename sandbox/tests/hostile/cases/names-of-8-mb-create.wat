;;! what = "Names of 8 MB for `create` without end: each byte is paid for, and none comes back."
;;! template = "context"
;;! [limits]
;;! fuel = 100000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! value = 100000000
(func (export "run") (result i32) (loop $l (call $create (i32.const 4096) (i32.const 8000000) (i32.const 16)) (call $must-fail (i32.const 16)) (br $l)) unreachable)
