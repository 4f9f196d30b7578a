;; Wants to speak HTTP.
(component
  (import "wasi:http/outgoing-handler@0.2.0" (instance
    (export "handle" (func))))
  (core module $m
    (memory (export "memory") 1)
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
