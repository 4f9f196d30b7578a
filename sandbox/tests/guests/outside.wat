;; Loads from outside of its memory.
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "\"ok\"")

    (func (export "run") (result i32)
      (drop (i32.load (i32.const -4)))
      ;; ok("\"ok\"")
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
