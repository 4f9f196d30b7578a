(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "\"ok\"")
    ;; The answer ok("\"ok\""), for attacks that come that far.
    (func $ok (result i32)
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0))
    ;;BODY
  )
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
