;;! what = "The guest grows its memory while the host is about to write to it: what the host knew of it is old."
;;! template = "context"
;;! realloc = "(drop (memory.grow (i32.const 16)))"
;;! [limits]
;;! memory_bytes = 67108864
;;! [expect]
;;! end = "limit"
;;! limit = "memory"
(func (export "run") (result i32)
  (loop $l (call $params (i32.const 16)) (br $l)) unreachable)
