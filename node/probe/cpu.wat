;; The probe of a node's CPU: a fixed amount of integer arithmetic, loads and stores, always the same fuel.
;; Built to cpu.wasm, which a test compares (`AEVIR_BLESS=1` writes it anew).
(component
  (core module $m
    (memory (export "memory") 2)
    (data (i32.const 64) "\"ok\"")

    (func (export "run") (result i32)
      (local $i i32) (local $x i64) (local $at i32)
      (local.set $x (i64.const 0x9e3779b97f4a7c15))
      (loop $l
        ;; xorshift64 (G. Marsaglia, 2003)
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        ;; One of 8,192 words of 64 KiB, above the result's text.
        (local.set $at (i32.add (i32.const 4096)
          (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0xfff8))))
        (i64.store (local.get $at)
          (i64.add (i64.load (local.get $at)) (i64.mul (local.get $x) (i64.const 3))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 8000000))))
      ;; ok("\"ok\"")
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
