;; Wants a function that the interface does not have.
(component
  (import "aevir:task/context@1.0.0" (instance
    (export "seed" (func (result u64)))
    (export "format-disk" (func))))
  (core module $m
    (memory (export "memory") 1)
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
