;;! what = "Memory that grows and is written to, so that it is resident."
;;! template = "plain"
;;! [limits]
;;! memory_bytes = 134217728
;;! [expect]
;;! end = "limit"
;;! limit = "memory"
;;! value = 134217728
;;! [bounds]
;;! peak_mib = 300
(func (export "run") (result i32)
  (local $page i32)
  (loop $l
    (local.set $page (memory.grow (i32.const 16)))
    (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 1) (i32.const 1048576))
    (br $l))
  unreachable)
