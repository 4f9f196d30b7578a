;;! what = "Returns 1 GiB of text."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "call-bytes"
;;! value = 33554432
(func (export "run") (result i32)
  (drop (memory.grow (i32.const 16383)))
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.store (i32.const 4) (i32.const 4096))
  (i32.store (i32.const 8) (i32.const 1073737728))
  (i32.const 0))
