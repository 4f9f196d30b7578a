;;! what = "More bytes in one call than any call takes: a limit with a name, before a byte is copied."
;;! template = "context"
;;! [expect]
;;! end = "limit"
;;! limit = "call-bytes"
;;! value = 33554432
(func (export "run") (result i32)
  (drop (memory.grow (i32.const 1024)))
  (call $log (i32.const 1) (i32.const 4096) (i32.const 40000000))
  (call $ok))
