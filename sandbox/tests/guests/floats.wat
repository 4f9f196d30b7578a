;; Returns the bits of NaNs made by arithmetic: "00000000" to "ffffffff".
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 32) "\00\00\80\7f") ;; infinity
    (data (i32.const 64) "\"ok\"")
    (func $hex (param $bits i32) (local $i i32) (local $digit i32)
      (loop $l
        (local.set $digit
          (i32.and (i32.shr_u (local.get $bits) (i32.sub (i32.const 28) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 15)))
        (i32.store8 offset=128 (local.get $i)
          (i32.add (local.get $digit)
            (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8)))))
    (func (export "run") (result i32)
      ;; inf - inf, with a sign that hardware leaves open
      (call $hex (i32.reinterpret_f32 (f32.neg (f32.neg
        (f32.sub (f32.load (i32.const 32)) (f32.load (i32.const 32)))))))
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 128))
      (i32.store (i32.const 8) (i32.const 8))
      (return (i32.const 0))
      ;; ok("\"ok\"")
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
