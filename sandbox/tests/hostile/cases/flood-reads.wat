;;! what = "Reads of the largest chunk without end: each byte is paid for."
;;! template = "context"
;;! inputs = { data = 8388608 }
;;! [limits]
;;! fuel = 50000000
;;! [expect]
;;! end = "limit"
;;! limit = "fuel"
;;! [bounds]
;;! run_ms = 20000
(func (export "run") (result i32)
  (local $i i32) (local $h i32)
  (local.set $h (call $data)) (loop $l (call $read (local.get $h) (i64.const 0) (i32.const 8388608) (i32.const 16)) (br $l))
  unreachable)
