;;! what = "A function of the host with another type."
;;! [expect]
;;! upload = "refused"
;;! upload_says = "another type"
;;! end = "trap"
;;! kind = "module"
(component
  (import "aevir:task/context@1.0.0" (instance $c (export "seed" (func (param "x" string) (result string)))))
  (core module $m (func (export "run") (result i32) unreachable) (memory (export "memory") 1))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
