;;! what = "Memory that grows until it is refused."
;;! template = "plain"
;;! [limits]
;;! memory_bytes = 67108864
;;! [expect]
;;! end = "limit"
;;! limit = "memory"
;;! value = 67108864
(func (export "run") (result i32)
  (loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable)
