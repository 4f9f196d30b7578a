;;! what = "After the answer was given, the function that frees it calls the host."
;;! [expect]
;;! end = "trap"
;;! kind = "interface"
(component
  (import "aevir:task/context@1.0.0" (instance $context (export "now" (func (result u64)))))
  (core func $now (canon lower (func $context "now")))
  (core module $m
    (import "c" "now" (func $now (result i64)))
    (memory (export "memory") 1)
    (func (export "run") (result i32) (i32.const 0))
    (func (export "free") (param i32) (drop (call $now))))
  (core instance $i (instantiate $m (with "c" (instance (export "now" (func $now))))))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory")) (post-return (core func $i "free"))))
  (export "run" (func $run)))
