;;! what = "Memories that are each small enough and together too large, behind a start function that never ends: what is declared is judged first."
;;! [limits]
;;! memory_bytes = 1048576
;;! [expect]
;;! end = "limit"
;;! limit = "memory"
;;! value = 1048576
(component
  (core module $first (memory 10) (func $f (loop $l (br $l))) (start $f))
  (core module $m
    (memory (export "memory") 10)
    (func (export "run") (result i32) unreachable))
  (core instance (instantiate $first))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
