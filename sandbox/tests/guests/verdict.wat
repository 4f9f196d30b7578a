;; A check that accepts everything.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "verify") (result i32)
      (i32.store8 offset=4 (i32.const 0) (i32.const 1))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $verify (result (result bool (error string)))
    (canon lift (core func $i "verify") (memory (core memory $i "memory"))))
  (export "verify" (func $verify)))
