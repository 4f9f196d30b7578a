;;! what = "Returns more than the inline result may have, but no more than a call may move."
;;! template = "plain"
;;! [expect]
;;! end = "limit"
;;! limit = "result"
;;! value = 32768
(func (export "run") (result i32)
  (drop (memory.grow (i32.const 100)))
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.store (i32.const 4) (i32.const 4096))
  (i32.store (i32.const 8) (i32.const 5000000))
  (i32.const 0))
