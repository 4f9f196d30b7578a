;; Recurses until the stack is full.
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "\"ok\"")
    (func $f (param i32) (result i32)
      (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1)))))
    (func (export "run") (result i32)
      (drop (call $f (i32.const 0)))
      ;; ok("\"ok\"")
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
