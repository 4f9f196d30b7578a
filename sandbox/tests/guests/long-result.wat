;; Returns 64 KiB of NULs, which is more than a result may have.
(component
  (core module $m
    (memory (export "memory") 3)
    (func (export "run") (result i32)
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 65536))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
